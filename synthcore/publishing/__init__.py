"""Publishing: what leaves a dataset for others: presets, recipes, and whole datasets with licences and a card."""
