"""Sources: where the patches of a dataset come from. `base` says what all have in common.

`synthetic` draws from `priors` and connects with `modulation`, `presets` reads a `collection`, `variations` changes
presets, and `splits` keeps what is nearly the same on one side.
"""
