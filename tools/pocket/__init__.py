"""The pocket model: examples, training, export and check. ``python -m tools.pocket --help``."""
