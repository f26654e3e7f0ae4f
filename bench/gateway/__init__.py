"""What a request costs in our daemon, and in the gateways of others beside it; ``python -m bench.gateway``."""
