"""Real clients, unmodified, against ``llm-pool serve``: what each of them can do with it."""
