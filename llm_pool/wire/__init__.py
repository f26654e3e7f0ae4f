"""The gRPC API's messages: generated classes, and their translation from and to ``wire``'s JSON."""
