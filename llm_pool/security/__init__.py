"""
Who asks, and what they may: signatures, tokens and bearer keys on one side, a ``Principal`` on the other.

Rules here know neither HTTP nor gRPC; ``server/access_control.py`` brings both to them.
"""

from llm_pool.config.values import Scope
from llm_pool.security.principal import ANONYMOUS, Grant, Principal

__all__ = ["ANONYMOUS", "Grant", "Principal", "Scope"]
