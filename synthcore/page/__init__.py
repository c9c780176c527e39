"""The page: what is in a dataset, for people to look at and listen to. One HTML file that needs nothing else.

`content` gathers what is shown, `charts` draws, `clips` makes sounds and spectrograms, `writing` fills the template.
Numbers come from `synthcore.analysis.inspection`.
"""
