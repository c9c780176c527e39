"""Benchmarks: ratios measured in one run, against a bar. `python -m benchmarks --help` tells which there are."""
