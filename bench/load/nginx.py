"""
nginx as the upstream of everybody: an OpenAI-shaped server that answers from memory, as it is asked.

A body with ``"stream": true`` gets server-sent events, any other the same answer as JSON. The answer is a short one of
a language model, in four pieces where it is streamed. nginx reads a body only to pass it on, so it asks itself.
Behind one more port nobody ever answers a question.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.load.processes import answers, free_port, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MODEL = "phi3-mini"
PIECES = (
    "Seventeen is a prime number: it has no divisors other than one and itself. ",
    "To see this, try every prime up to its square root, which is a little more than four. ",
    "Seventeen leaves a remainder of one when divided by two, and of two when divided by three, ",
    "so neither divides it, and there are no other primes to try. Yes, 17 is prime.",
)
USAGE = {"prompt_tokens": 84, "completion_tokens": 78, "total_tokens": 162}
CONFIG = """
{user}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  server_tokens off;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  client_body_buffer_size 256k;
  client_max_body_size 256k;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  map $request_body $kind {{ default json; '~"stream": ?true' sse; }}
  upstream memory {{ server unix:{folder}/memory.sock; keepalive 1024; keepalive_requests 1000000000; }}
  server {{
    {listen}
    default_type application/json;
    location = /v1/chat/completions {{
      if ($server_port = {silent}) {{ rewrite ^ /silent last; }}
      proxy_pass http://memory;
      proxy_method GET;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Content-Length "";
      proxy_set_header Kind $kind;
      proxy_pass_request_headers off;
      proxy_pass_request_body off;
      proxy_buffers 16 64k;
      proxy_buffer_size 64k;
    }}
    location = /silent {{ internal; proxy_pass http://127.0.0.1:{nobody}; proxy_read_timeout 1d; }}
    location = /v1/models {{ return 200 '{models}'; }}
    location = /health {{ return 200 '{{"status":"ok"}}'; }}
    location / {{ return 404 '{{"error":{{"message":"no such path","type":"not_found_error","code":404}}}}'; }}
  }}
  server {{
    listen unix:{folder}/memory.sock backlog=4096;
    root {folder};
    open_file_cache max=8;
    location / {{ if ($http_kind = sse) {{ rewrite ^ /answer.sse last; }} rewrite ^ /answer.json last; }}
    location = /answer.json {{ internal; default_type application/json; }}
    location = /answer.sse {{ internal; default_type text/event-stream; }}
  }}
}}
"""


class Upstreams(NamedTuple):
    """URLs of servers that answer at once, and of one that takes questions and never answers."""

    urls: tuple[str, ...]
    silent: str


@contextmanager
def nginx(folder: Path, *, count: int = 1, pieces: tuple[str, ...] = PIECES) -> Iterator[Upstreams]:
    """An nginx in *folder*, as *count* servers that say *pieces*."""
    folder.mkdir(parents=True)
    *ports, silent = (free_port() for _ in range(count + 1))
    with ExitStack() as stack:
        nobody = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))  # connects, and is not read
        text = CONFIG.format(
            folder=folder,
            user="user root;" if os.geteuid() == 0 else "",  # it would become one that may not enter the folder
            listen=" ".join(f"listen 127.0.0.1:{port} backlog=4096;" for port in (*ports, silent)),
            silent=silent,
            nobody=nobody.getsockname()[1],
            models=models(),
        )
        (folder / "nginx.conf").write_text(text, encoding="utf-8")
        (folder / "answer.json").write_text(completion(pieces), encoding="utf-8")
        (folder / "answer.sse").write_bytes(b"".join(sse(pieces)))
        log, urls = folder / "nginx.log", tuple(f"http://127.0.0.1:{port}" for port in ports)
        words = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        process = stack.enter_context(running(words, log=log))
        until(lambda: answers(f"{urls[0]}/health"), process, log, within=10)
        yield Upstreams(urls, f"http://127.0.0.1:{silent}")


def completion(pieces: Sequence[str]) -> str:
    """The answer as one JSON object, as vLLM writes it."""
    message = {"role": "assistant", "content": "".join(pieces), "tool_calls": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _compact(_head("chat.completion") | {"choices": [choice], "usage": USAGE})


def sse(pieces: Sequence[str]) -> list[bytes]:
    """The answer as server-sent events: one for each piece, the last with how it ended, then the count of tokens."""
    chunks = [_chunk({"role": "assistant", "content": pieces[0]})]
    chunks += [_chunk({"content": piece}) for piece in pieces[1:-1]]
    chunks.append(_chunk({"content": pieces[-1]}, "stop"))
    chunks.append(_head("chat.completion.chunk") | {"choices": [], "usage": USAGE})
    return [f"data: {_compact(chunk)}\n\n".encode() for chunk in chunks] + [b"data: [DONE]\n\n"]


def models() -> str:
    """The list of models, as JSON."""
    entry = {"id": MODEL, "object": "model", "created": 1764000000, "owned_by": "vllm", "max_model_len": 8192}
    return _compact({"object": "list", "data": [entry]})


def _chunk(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _head("chat.completion.chunk") | {"choices": [choice]}


def _head(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-8f3b2a", "object": kind, "created": 1764000000, "model": MODEL}


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
