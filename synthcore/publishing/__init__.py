"""Publishing: what leaves a dataset for others, under which licence: presets that Vital opens, and recipes without audio."""
