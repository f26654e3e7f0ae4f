"""What the scripted upstream says has the shape of what real servers said."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llm_pool.testing.upstream import Upstream

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

WIRE = Path(__file__).parents[2] / "recordings"
UNSPOKEN = {"llama-server/metrics", "llama-server/props", "llama-server/slots"}  # nobody asks a llama-server for these
TRANSCRIPTS = sorted({f"{path.parent.name}/{path.stem}" for path in WIRE.glob("*/*.txt")} - UNSPOKEN)
LONG = b'{"model": "phi3-mini", "messages": [{"role": "user", "content": "%b"}]}' % (b"word " * 30_000)
MATTER = ("content-type", "transfer-encoding", "server", "connection", "keep-alive", "x-accel-buffering")


def shape(value: Any) -> Any:
    """Keys in their order and types of leaves; a list is as its first item, a number is a number."""
    if isinstance(value, dict):
        return [(key, shape(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def shapes(body: bytes) -> list[Any]:
    """The shape of each line, equal neighbours taken together; a line that is not JSON stands for itself."""
    lines = [line.removeprefix(b"data: ") for line in body.splitlines() if line]
    return [key for key, _ in itertools.groupby(_line_shape(line) for line in lines)]


def _line_shape(line: bytes) -> Any:
    try:
        return shape(msgspec.json.decode(line))
    except msgspec.DecodeError:
        return line


@pytest.mark.parametrize("name", TRANSCRIPTS)
async def test_a_recorded_request_gets_an_answer_of_the_recorded_shape(name: str, ask: Any) -> None:
    """Status, telling headers, framing, keys, their order and their types are the real server's."""
    request, answer = (WIRE / f"{name}.txt").read_bytes().split(b"\n\n", 1)
    first, _, body = request.partition(b"\n")
    method, path = first.decode().split()
    head, _, expected = answer.partition(b"\n\n")
    body = LONG if name.endswith("prompt-too-long") else body  # cut in the recording
    status, *lines = head.decode().split("\n")
    headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    models = ["phi3-mini"] if name.startswith("llama") else ["gemma2:9b", "phi3:mini", "llama3.1:8b"]
    flavor: Any = name.partition("/")[0]

    async with Upstream(models, flavor=flavor, registry={}, context=2048) as up:
        heard = await ask(up.url, path, body or None, method=method)

    assert heard.whole
    assert heard.status == int(status.split()[0])
    assert {h: heard.headers.get(h) for h in MATTER} == {h: headers.get(h) for h in MATTER}
    before, cut, after = expected.partition(b"\n...\n")
    if name == "ollama/show":
        keys = re.findall(rb'"(modelfile|parameters|template|details|model_info)":', expected)
        assert [key.encode() for key in heard.json][:5] == keys
    elif cut:
        assert shapes(heard.body)[: len(shapes(before))] == shapes(before)
        assert heard.body.rstrip().endswith(after.strip())
    else:
        assert shapes(heard.body) == shapes(expected)
