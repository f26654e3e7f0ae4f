"""
JSON Schemas: compiled once and kept within bounds, their complaints in words, and which of strangers are taken.

A stranger's schema is looked at before anything is compiled (``strangers``), patterns by an estimate of their size
(``patterns``). What is compiled is kept in a bounded number of bytes (``compiled``).
"""

from __future__ import annotations

from llm_pool.reading.schemas.compiled import (
    MAX_DEPTH,
    dotted,
    fault,
    forget,
    is_deep,
    is_too_much,
    validator,
    whole_numbers,
)
from llm_pool.reading.schemas.strangers import complaint_about

__all__ = [
    "MAX_DEPTH",
    "complaint_about",
    "dotted",
    "fault",
    "forget",
    "is_deep",
    "is_too_much",
    "validator",
    "whole_numbers",
]
