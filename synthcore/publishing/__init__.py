"""Publishing: what leaves a dataset for others: presets that Vital opens, and recipes without audio."""
