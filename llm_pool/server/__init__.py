"""The daemon's APIs: ours over HTTP and gRPC, and those of OpenAI and Ollama, over one ``generations.PoolManager``."""
