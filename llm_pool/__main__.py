"""``python -m llm_pool``: the command line."""
