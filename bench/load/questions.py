"""The question that everybody is asked: of a usual length, and with a number, so that no two are equal."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from contextlib import ExitStack

SYSTEM = (
    "You are a careful assistant of a public library. Answer in plain English, in at most four sentences, and say how "
    "you know. Where a question cannot be answered, say so, and do not guess."
)
PROMPT = (
    "Question @: is 17 a prime number? Please explain it to a pupil of ten years who knows how to divide with a "
    "remainder, and who has not heard the word before. End with a plain yes or no."
)
MAX_TOKENS = 256
NEVER_MS = 86_400_000
CROWDED = "[qos]\nmax_deadline_ms = 86400000\n"
QUEUE = 64
"""Requests that may wait in a daemon of which nothing is configured."""


def chat_body(model: str, *, stream: bool = False, prompt: str = PROMPT) -> str:
    """The question as OpenAI's clients ask it."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
    asked = {"model": model, "messages": messages, "max_tokens": MAX_TOKENS, "temperature": 0}
    return json.dumps(asked | ({"stream": True} if stream else {}))


def infer_body(*, prompt: str = PROMPT, **fields: Any) -> str:
    """The question as ``/v1/infer`` takes it."""
    turns = [{"role": "system", "text": SYSTEM}]
    return json.dumps({"prompt": prompt, "turns": turns, "max_tokens": MAX_TOKENS, "temperature": 0, **fields})


def crowd(stack: ExitStack, url: str) -> None:
    """Ask more than the daemon at *url* takes, and wait; those that it takes get no answer while *stack* is open."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    for number in range(QUEUE + 32):
        body = infer_body(prompt=f"crowd {number}", deadline_ms=NEVER_MS).encode()
        head = f"POST /v1/infer HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        connection = stack.enter_context(socket.create_connection((host, port)))
        connection.sendall(head + body)
