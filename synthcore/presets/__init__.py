"""Presets that people wrote: finding, checking, reading, collecting and downloading them."""
