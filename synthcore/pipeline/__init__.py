"""The pipeline: from a spec to shards to one file. What a flow's steps call, and what people see of them."""
