"""
Whatever comes from outside is read or refused, within a time that grows no faster than it does.

Valid inputs, mutated: pieces cut out, doubled, moved, and bytes that mean something put in between. A reader may raise
its own error and nothing else. FUZZ_EXAMPLES says how many inputs each reader gets: a few hundred in CI, ``poe fuzz``
for a long run.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_pool.cache.encoding import SPOILT, pack, unpack
from llm_pool.config import parse
from llm_pool.config.addresses import address_fault
from llm_pool.config.values import Driver
from llm_pool.core.errors import ConfigError, InvalidRequest, ProviderError, Unauthenticated
from llm_pool.providers.connection import ConnectionBroken, ResponseParser
from llm_pool.providers.embeddings import checked, ollama_embeddings, openai_embeddings
from llm_pool.providers.framing import Events, JsonLines
from llm_pool.providers.transport import Backend
from llm_pool.reading.schemas import complaint_about, fault, is_too_much
from llm_pool.reading.tolerant import Unreadable, parse_whole
from llm_pool.reading.tolerant import parse as parse_tolerant
from llm_pool.security.hmac import SIGNED_HEADERS, parse_signed
from llm_pool.server import anthropic, responses
from llm_pool.server.chat import Model
from llm_pool.server.queries import decode, decode_infer
from llm_pool.testing import an_answer
from llm_pool.wire import codec
from llm_pool.wire import llmpool_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200"))
MAX_SECONDS = 0.5
"""CPU time for one input of at most 64 KiB; each takes a hundredth of it on an idle machine."""

SEEDS = {
    "json": b'{"prompt": "\\ud83d\\ude00", "max_tokens": 12, "meta": {"k": "v"}, "deadline_ms": 1e3, "x": [1]}',
    "responses": b'{"model": "pool", "input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}, '
    b'{"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}]}, {"type": "function_call", '
    b'"call_id": "1", "name": "f", "arguments": "{}"}, {"type": "function_call_output", "call_id": "1", '
    b'"output": "b"}], "tools": [{"type": "function", "name": "f"}], "tool_choice": {"type": "function", "name": "f"}}',
    "messages": b'{"model": "pool", "system": [{"type": "text", "text": "a"}], "messages": [{"role": "user", '
    b'"content": [{"type": "image", "source": {"type": "base64", "data": "iVBORw0KGgo="}}]}, {"role": "assistant", '
    b'"content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]}, {"role": "user", "content": '
    b'[{"type": "tool_result", "tool_use_id": "1", "content": "b"}]}], "tools": [{"name": "f", "input_schema": {}}]}',
    "vectors": b'{"embeddings": [[0.5, 1e-3]], "data": [{"index": 0, "embedding": [1, 2]}], '
    b'"usage": {"prompt_tokens": 3}}',
    "lines": b'{"model":"m","message":{"content":"a"},"done":false}\n{"done":true,"eval_count":3}\n\r\n: x\n',
    "events": b'event: answer\r\ndata: {"a": 1}\r\ndata: b\n\n: ping\n\nid: 1\nretry: 5\ndata: [DONE]\n\n',
    "head": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "toml": b'[server]\nhttp_addr = "127.0.0.1:0"\n[[providers]]\nname = "a"\ndriver = "ollama"\nmodel = "m"\n'
    b'base_url = "http://h:1"\napi_key = "${env:KEY}"\n[qos]\nmax_deadline_ms = 100\n',
    "header": b"x-signature: v1=ab01\nx-nonce: 0123456789abcdef\nx-timestamp: 1700000000\nx-api-key: k\na: b",
    "protobuf": pb.Answer(request_id="1", content="hello", meta={"a": "b"}).SerializeToString(),
    "schema": b'{"type": "object", "required": ["a"], "properties": {"a": {"type": "string", '
    b'"pattern": "^(?=.*a)[a-c]{1,9}$"}, "b": {"$ref": "#/$defs/x"}}, '
    b'"$defs": {"x": {"anyOf": [{"enum": ["u", 1]}, {"items": {"$ref": "#"}}]}}, '
    b'"patternProperties": {"^x": {}}, "unevaluatedProperties": false}',
    "kept": pack(an_answer(), made=1.0),
    "url": b"https://user@[::1%25eth0]:8080/v1/chat/completions?x=1#y",
}
WORDS = (
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"\\",
        b"\\u",
        b",",
        b":",
        b"\n",
        b"\r\n",
        b"\r",
        b"\0",
        b"\xff",
        b"\xc3",
        b"\xe2\x80\xae",
    ),
    *(
        b"data:",
        b"event:",
        b"0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"Content-Length: 5\r\n",
        b"HTTP/1.1 ",
        b" \t",
        b"\x80",
    ),
    *(
        b"${",
        b"${env:",
        b"${file:",
        b"}",
        b"'''",
        b"[[",
        b"a.",
        b"1" * 40,
        b"1e999",
        b"-",
        b"NaN",
        b"True",
        b"@",
        b"%",
        b"/",
    ),
)


@st.composite
def mutated(draw: st.DrawFn, seed: bytes) -> bytes:
    """*seed* after up to eight changes; one piece may be repeated often."""
    data = seed
    for _ in range(draw(st.integers(0, 8))):
        start = draw(st.integers(0, len(data)))
        stop = draw(st.integers(start, min(len(data), start + 64)))
        match draw(st.sampled_from(["cut", "double", "word", "bytes", "repeat"])):
            case "cut":
                piece = b""
            case "double":
                piece = data[start:stop] * 2
            case "word":
                piece = draw(st.sampled_from(WORDS))
            case "bytes":
                piece = draw(st.binary(max_size=8))
            case _:
                piece = (data[start:stop] or draw(st.sampled_from(WORDS))) * draw(st.integers(1, 4000))
        data = (data[:start] + piece + data[stop:])[: 64 << 10]
    return data


def read_request(data: bytes) -> None:
    with suppress(InvalidRequest):
        decode_infer(data)


def read_responses(data: bytes) -> None:
    with suppress(InvalidRequest):
        responses.query_from(decode(data, responses.ResponsesBody), Model("pool"))


def read_messages(data: bytes) -> None:
    with suppress(InvalidRequest):
        anthropic.query_from(decode(data, anthropic.MessagesBody), Model("pool"))


def read_vectors(data: bytes) -> None:
    backend = Backend("p", "http://127.0.0.1:9")
    for read in (ollama_embeddings, openai_embeddings):
        with suppress(ProviderError):
            checked(backend, read(backend, data), 1, None)


def read_answer(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    parse_whole(text)
    if (at := text.find("{")) >= 0:
        with suppress(Unreadable):
            parse_tolerant(text, at, len(text))


def read_schema(data: bytes) -> None:
    try:
        schema = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(schema, dict) and not complaint_about(schema):
        for value in ({"a": "abc" * 300, "b": "u", "x": 1, "c": [{}]}, [1, "a" * 900], "b"):
            if not is_too_much(schema, value, 1000):
                fault(schema, value)


def read_kept(data: bytes) -> None:
    with suppress(*SPOILT):
        unpack(data, now=2.0)


def read_lines(data: bytes) -> None:
    splitter = JsonLines()
    with suppress(ProviderError, ValueError):
        for at in range(0, len(data), 1000):
            splitter.feed(data[at : at + 1000])
        splitter.finish()


def read_events(data: bytes) -> None:
    splitter = Events()
    with suppress(ProviderError, ValueError):
        for at in range(0, len(data), 1000):
            splitter.feed(data[at : at + 1000])
        splitter.finish()


def read_head(data: bytes) -> None:
    parser = ResponseParser()
    with suppress(ConnectionBroken):
        for at in range(0, len(data), 1000):
            parser.feed(data[at : at + 1000])


def read_config(data: bytes) -> None:
    with suppress(ConfigError):
        parse(data.decode("utf-8", "replace"), Path("/nowhere/llm-pool.toml"), {"KEY": "k"})


def read_signature(data: bytes) -> None:
    pairs = [line.partition(b": ")[::2] for line in data.split(b"\n")]
    headers = [(name, value) for name, value in pairs] + [(name, data[:40]) for name in SIGNED_HEADERS]
    for given_headers in (headers, headers[: len(pairs)]):
        with suppress(Unauthenticated):
            parse_signed("POST", data[:100], b"", given_headers, data)


def read_message(data: bytes) -> None:
    for kind, read in ((pb.Answer, codec.answer_body), (pb.AnswerChunk, codec.chunk_body)):
        message = kind()
        try:
            message.ParseFromString(data)
        except DecodeError:
            continue
        with suppress(ValueError):
            read(message)


def read_address(data: bytes) -> None:
    url = data.decode("utf-8", "replace")
    for driver in Driver:
        fault = address_fault(driver, f"http://{url}")
    if fault is None:
        with suppress(ValueError):
            Backend("p", f"http://{url}")


READERS: list[tuple[str, Callable[[bytes], None]]] = [
    ("json", read_request),
    ("json", read_answer),
    ("responses", read_responses),
    ("messages", read_messages),
    ("vectors", read_vectors),
    ("schema", read_schema),
    ("kept", read_kept),
    ("lines", read_lines),
    ("events", read_events),
    ("head", read_head),
    ("toml", read_config),
    ("header", read_signature),
    ("protobuf", read_message),
    ("url", read_address),
]


@pytest.mark.parametrize(("seed", "read"), READERS, ids=[read.__name__ for _, read in READERS])
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_it_is_read_or_refused_in_time(seed: str, read: Callable[[bytes], None], data: st.DataObject) -> None:
    sent = data.draw(mutated(SEEDS[seed]))

    def seconds() -> float:
        began = time.process_time()
        read(sent)
        return time.process_time() - began

    assert seconds() < MAX_SECONDS or seconds() < MAX_SECONDS  # the first may have had the garbage of others to collect
