"""One question to several local language models at once, one answer."""
