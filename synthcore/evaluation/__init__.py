"""How good answers are: predictions, metrics, baselines, and the search for a sound."""
