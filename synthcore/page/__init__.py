"""The page: what is in a dataset, for people to look at and listen to. One HTML file that needs nothing else.

`content` gathers what is shown, `charts` draws, `clips` makes sounds and their pictures, `writing` fills the template.
Numbers are not made here but in `synthcore.analysis.inspection`.
"""
