"""Sampling: which patches a spec asks for. `priors` says how likely, `hypercube` draws, `modulation` connects."""
