"""Whether `llm-pool eval` recommends what is best on questions that it has not seen."""
