"""What a request makes the daemon do, counted without a clock; ``python -m bench.counts``."""
