"""Wavetables: one form for each, a catalog of them by content, tables of our own, and those found on this machine."""
