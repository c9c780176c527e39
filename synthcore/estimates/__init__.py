"""Estimates: how much time and disk space a run will take on this machine, before it begins."""
