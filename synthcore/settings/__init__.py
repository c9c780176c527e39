"""Settings: where and how to run, as flags, variables and a file. Choices that change bytes are the spec's."""
