"""Backends: wire format to Call, Delta and ProviderError, and back."""
