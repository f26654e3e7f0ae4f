"""bench/clients: its judgement, its lists, and what is written of a run. The clients themselves: tests/clients."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from bench.clients import catalog, judging, report, scenario
from bench.clients.catalog import CELLS, Client, Errors
from bench.clients.running import Result
from llm_pool.testing.upstream import TextRequest
from llm_pool.testing.upstream.embeddings import vector

CLIENTS = catalog.load()
CLIENT = Client(name="it", package="it", speaks="HTTP", errors=Errors(missing="NotFound", broken="Failed"))
VECTORS = [vector("nomic-embed-text:latest", text) for text in ("the sky", "the sea")]
NAMED = {"missing": {"type": "NotFound", "message": "no-such-model"}, "broken": {"type": "Failed", "message": "broken"}}
RIGHT: dict[str, dict[str, Any]] = {
    "plain": {"text": scenario.SKY},
    "stream": {"text": scenario.SEA, "pieces": 3},
    "structured": {"value": scenario.CITY},
    "tools": {"call": "get_weather", "arguments": '{"city": "Rome"}', "text": f"It says: {scenario.WEATHER}"},
    "error": NAMED,
    "embeddings": {"vectors": VECTORS},
    "thinking": {"text": scenario.WHY, "thought": scenario.THOUGHT},
    "images": {"text": "1 picture, 70 bytes."},
    "responses": {"text": scenario.SKY, "streamed": scenario.SEA, "pieces": 9},
    "edit": {"file": scenario.EDITED},
    "listing": {"names": ["pool:latest"], "capabilities": ["completion", "tools", "vision"]},
    "refused": {"read": False},
}
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("plain", {"text": "The sky is blue"}),
    ("plain", {"raised": "TypeError: it is not"}),
    ("stream", {"text": scenario.SEA, "pieces": 1}),
    ("stream", {"text": scenario.SEA}),
    ("stream", {"text": scenario.SKY, "pieces": 9}),
    ("structured", {"value": {"name": "Rome"}}),
    ("structured", {}),
    ("tools", RIGHT["tools"] | {"call": "get_wether"}),
    ("tools", RIGHT["tools"] | {"arguments": {"city": "Oslo"}}),
    ("tools", RIGHT["tools"] | {"text": "It is fine."}),
    ("tools", {"text": "The note says nothing."}),
    ("error", NAMED | {"missing": {"type": "", "message": "nothing was raised"}}),
    ("error", NAMED | {"broken": {"type": "Failed", "message": "something failed"}}),
    ("embeddings", {"vectors": VECTORS[:1]}),
    ("embeddings", {"vectors": [VECTORS[0], VECTORS[0]]}),
    ("embeddings", {"found": ""}),
    ("thinking", {"text": scenario.WHY, "thought": None}),
    ("thinking", {"text": f"{scenario.THOUGHT} {scenario.WHY}", "thought": scenario.THOUGHT}),
    ("images", {"text": "phi3:mini heard: What is in this picture?"}),
    ("responses", RIGHT["responses"] | {"streamed": ""}),
    ("edit", {"file": scenario.NOTE}),
    ("listing", {"names": ["phi3"], "capabilities": ["completion", "tools", "vision"]}),
    ("listing", {"names": ["pool"], "capabilities": ["completion"]}),
    ("refused", {"read": True}),
]


@pytest.mark.parametrize("cell", RIGHT)
def test_what_was_said_is_right(cell: str) -> None:
    assert judging.verdict(CLIENT, cell, RIGHT[cell]) == ""


@pytest.mark.parametrize(("cell", "told"), WRONG)
def test_what_was_not_said_is_wrong(cell: str, told: dict[str, Any]) -> None:
    assert judging.verdict(CLIENT, cell, told)


@pytest.mark.parametrize(("ended", "well"), [(10.19, True), (11.0, False), (None, False)])
def test_a_model_is_stopped_in_time(ended: float | None, *, well: bool) -> None:
    assert (judging.stopped(10.0, ended) == "") == well


def test_a_known_reason_is_told_and_missed_when_it_has_gone() -> None:
    """A client's own fault is no failure of ours, and is not told of a cell that works."""
    client = msgspec.structs.replace(CLIENT, fails={"leave": "it never hangs up"})

    assert judging.explained(client, "leave", "the model went on") == "it never hangs up"
    assert "client.toml says that it fails" in judging.explained(client, "leave", "")
    assert judging.explained(client, "plain", "said nothing") == "said nothing"


def test_the_scripted_model_calls_answers_and_goes_on() -> None:
    """It calls what is offered, tells what came of it, and keeps to a schema."""
    weather = TextRequest(model="m", text="the weather", user="the weather", tools=({"name": "get_weather"},))
    called = scenario.answer(weather)
    told = scenario.answer(msgspec.structs.replace(weather, results=("18 degrees",)))
    begun = scenario.answer(TextRequest(model="m", text=f"What colour is the sky?\n{scenario.SKY}", user=scenario.SKY))

    assert called is not None
    assert [(call.name, call.arguments) for call in called.calls] == [("get_weather", '{"city":"Rome"}')]
    assert told is not None
    assert told.text == "It says: 18 degrees"
    assert begun is not None
    assert begun.text == scenario.GOES_ON


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.key)
def test_a_client_is_pinned_and_says_how_it_is_configured(client: Client) -> None:
    """Exact versions, no address that packages come from, and lines that name the daemon."""
    listed = [path for name in ("requirements.txt", "package-lock.json") if (path := client.folder / name).exists()]
    if client.needs:
        assert not listed
    else:
        (path,) = listed
        text = path.read_text(encoding="utf-8")
        assert "resolved" not in text
        assert "index" not in re.sub(r"llama-index", "", text)
        if path.suffix == ".txt":
            assert all("==" in line for line in text.splitlines())
    assert catalog.SHOWN in client.configuration[1]
    assert set(client.absent) <= set(CELLS)
    assert set(client.fails) <= set(client.cells)
    assert not set(client.further) & set(CELLS)


def test_a_client_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="openai_python"):
        catalog.load(["opnai"])


def test_a_table_says_what_works_what_fails_and_what_is_not_offered() -> None:
    cells = dict.fromkeys(CELLS, "") | {"tools": "it called nothing"}
    client = msgspec.structs.replace(CLIENT, absent={"images": "it sees nothing"})
    run = report.Run("2026-11-25", "a machine", {client.key: Result(client.key, "1.2", 3.0, cells)})

    *_, row = report.table([client], run)

    assert row == "| it | 1.2 | ✓ | ✓ | ✓ | ✗ | ✓ | ✓ | ✓ | — | ✓ |"


def test_the_page_is_what_the_results_make_it() -> None:
    """Made by ``python -m bench.clients --write``; lines of a driver that change are written anew with it."""
    page = report.PAGE.read_text(encoding="utf-8")

    assert report.paged(page, report.section(CLIENTS, report.kept())) == page


def test_every_client_is_in_the_results() -> None:
    """With each cell that it offers."""
    kept = report.kept().results

    assert {key: set(result.cells) for key, result in kept.items()} == {c.key: set(c.cells) for c in CLIENTS}
