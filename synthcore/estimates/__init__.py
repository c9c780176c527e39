"""Estimates: what of time and disk a run will take on this machine, said before it begins."""
