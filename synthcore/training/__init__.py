"""Training: what a model reads of a dataset, and in which order. `torch`, an extra, is PyTorch's view of it."""
