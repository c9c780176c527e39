"""Ingest: strangers' files. Finding, downloading, checking and reading presets and wavetables, trusting none."""
