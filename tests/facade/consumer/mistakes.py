"""Mistakes that type checkers find: each line that says ERROR has one."""

from __future__ import annotations

from llm_pool import Ollama, OpenAI, Pool


def main(pool: Pool) -> None:
    pool.infer("hello", strategie="voting")  # ERROR
    pool.infer("hello", deadline="soon")  # ERROR
    pool.infer("hello", schema=list[int]).value.upper()  # ERROR
    pool.chat([{"role": "nobody", "content": "hello"}])  # ERROR
    OpenAI("model")  # ERROR
    Ollama("model", weigth=1.0)  # ERROR
