"""The daemon's faces: HTTP, gRPC and the shapes of others, thin twins over one ``generations.PoolManager``."""
