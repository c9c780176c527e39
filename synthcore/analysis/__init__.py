"""Analysis: what is measured on a dataset and said of it, from loudness to which controls are heard."""
