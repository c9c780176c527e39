"""Tasks: one core call each. Retries, caching and names live in their decorators, everything else in synthcore."""
