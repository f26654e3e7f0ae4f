"""The pool in a program: the same in this process, from a file, and with a daemon over HTTP and gRPC."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
import pydantic
import pytest

from llm_pool import (
    Answer,
    AsyncPool,
    BadReply,
    Cancelled,
    ConfigError,
    InvalidRequest,
    LlmPoolError,
    Ollama,
    Pool,
    Query,
    StrategyName,
    Unreachable,
    load,
)
from llm_pool.testing.processes import running_upstream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class City(pydantic.BaseModel):
    name: str
    people: int


@dataclasses.dataclass
class Town:
    name: str
    people: int


class Village(TypedDict):
    name: str


class Hamlet(msgspec.Struct):
    name: str
    houses: list[Town]


def test_a_question_gets_its_answer(pool: Pool) -> None:
    """With the decision behind it."""
    answer = pool.infer("Is 17 prime?", strategy="voting")

    assert isinstance(answer, Answer)
    assert answer.content.endswith("heard: Is 17 prime?")
    assert answer.winner in {"phi3", "llama3.1", "gemma2"}
    assert answer.strategy_used is StrategyName.VOTING
    assert answer.decision.agreement is not None
    assert answer.value is None


@pytest.mark.parametrize("kind", [City, Town, Village, Hamlet, list[Town]])
def test_a_schema_gives_a_value_of_its_type(pool: Pool, kind: Any) -> None:
    """Whatever people write types with."""
    value = pool.infer("Name one.", schema=kind).value

    expected = msgspec.convert(msgspec.to_builtins(value, enc_hook=lambda model: model.model_dump()), dict | list)
    assert value == (kind.model_validate(expected) if kind is City else msgspec.convert(expected, kind))
    assert isinstance(value, kind if kind in {City, Town, Hamlet} else (list, dict))


def test_a_json_schema_gives_parsed_json(pool: Pool) -> None:
    schema = {"type": "object", "properties": {"people": {"type": "integer"}}, "required": ["people"]}

    answer = pool.infer("How many?", schema=schema)

    assert isinstance(answer.value["people"], int)
    assert answer.value == answer.json


def test_a_stream_gives_text_and_then_the_answer(pool: Pool) -> None:
    """Its pieces are the content."""
    stream = pool.stream("Tell me of the sea.", no_cache=True)

    with pytest.raises(RuntimeError, match="after the last piece"):
        _ = stream.answer
    pieces = list(stream)

    assert len(pieces) > 1
    assert "".join(pieces).strip() == stream.answer.content


def test_a_decided_answer_streams_in_one_piece(pool: Pool) -> None:
    """Nobody takes text back."""
    stream = pool.stream("Tell me of the sea.", strategy="voting")

    assert list(stream) == [stream.answer.content]


def test_a_stream_that_is_left_leaves_the_pool_as_it_was(pool: Pool) -> None:
    with pool.stream("Tell me of the sea.") as pieces:
        next(pieces)

    assert pool.infer("And now?").content.endswith("And now?")


def test_a_conversation(pool: Pool) -> None:
    """System text and earlier turns go along."""
    answer = pool.chat(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "My name is Ada."},
            {"role": "assistant", "content": "Hello Ada."},
            {"role": "user", "content": "What is my name?"},
        ]
    )

    assert answer.content.endswith("heard: What is my name?")


def test_a_task_takes_json(pool: Pool) -> None:
    answer = pool.infer("cinematic lounge videos", task="expand_queries")

    assert answer.task == "expand_queries"
    assert answer.value == answer.json
    assert answer.json is not None


def test_only_the_named_providers_are_asked(pool: Pool) -> None:
    answer = pool.infer("Who are you?", providers=["gemma2"], no_cache=True)

    assert {attempt.provider for attempt in answer.decision.attempts} == {"gemma2"}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"strategy": "votting"}, "strategy"),
        ({"task": "nope"}, "task"),
        ({"strategie": "voting"}, "strategie"),
        ({"providers": "phi3"}, "providers"),
        ({"providers": ["phi4"]}, "providers"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"schema": {"type": "nope"}}, "output_schema"),
        ({"schema": type("Odd", (), {})}, "schema"),
    ],
)
def test_a_wrong_word_is_named(pool: Pool, options: dict[str, Any], field: str) -> None:
    """By the public tree of errors, wherever it is found."""
    with pytest.raises(InvalidRequest) as caught:
        pool.infer("hello", **options)

    assert caught.value.field == field


@pytest.mark.parametrize("messages", [[], [{"role": "assistant", "content": "Hi."}], [{"role": "user"}]])
def test_a_conversation_ends_with_the_user(pool: Pool, messages: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        pool.chat(messages)

    assert caught.value.field == "messages"


def test_a_check_of_the_types_own_refuses(pool: Pool) -> None:
    """What JSON Schema cannot say."""

    class Picky(pydantic.BaseModel):
        name: str

        @pydantic.field_validator("name")
        @classmethod
        def never(cls, _: str) -> str:
            raise ValueError("not that one")

    with pytest.raises(BadReply, match=r"no Picky: name: .*not that one") as caught:
        pool.infer("Name one.", schema=Picky)

    assert caught.value.provider


def test_feedback_and_health(pool: Pool) -> None:
    answer = pool.infer("Is 2 + 2 = 4?", strategy="voting", no_cache=True)

    assert pool.feedback(answer.request_id, good=True) in {True, False}
    assert pool.health().healthy
    assert {state.name for state in pool.health().states} == {"phi3", "llama3.1", "gemma2"}
    with pytest.raises(InvalidRequest):
        pool.feedback("no such request", good=True)


def test_threads_share_a_pool(pool: Pool) -> None:
    """One loop serves them all."""
    heard: dict[int, str] = {}

    def ask(number: int) -> None:
        heard[number] = pool.infer(f"What is {number}?").content

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(heard[number].endswith(f"What is {number}?") for number in range(6))


NOTEBOOK = """
import asyncio, sys
from llm_pool import Pool

async def cell():
    with Pool(config=sys.argv[1]) as pool:
        print(pool.infer("Is it late?").content)
        print("".join(pool.stream("Is it early?")))

asyncio.run(cell())
"""
UNCLOSED = """
import sys
from llm_pool import Pool

pool = Pool(url=sys.argv[1]) if "://" in sys.argv[1] else Pool(config=sys.argv[1])
pieces = pool.stream("Is it late?", no_cache=True)
print(next(pieces))
"""


def run(script: str, word: Path | str) -> str:
    """What *script* prints, run as a person would."""
    words = [sys.executable, "-W", "error", "-c", script, str(word)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_inside_a_running_loop(config: Path) -> None:
    """As in a notebook."""
    assert run(NOTEBOOK, config) == "phi3:mini heard: Is it late?\nphi3:mini heard: Is it early?\n"


@pytest.mark.parametrize("way", ["config", "http", "grpc"])
def test_one_that_nobody_closed_ends_with_the_program(config: Path, daemon: dict[str, str], way: str) -> None:
    """Without a word on stderr, in the middle of an answer."""
    assert run(UNCLOSED, daemon.get(way, str(config)))


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_closing_ends_what_is_in_flight() -> None:
    """Its asker is told; nothing is left running."""
    before = asyncio.all_tasks()
    with running_upstream("--model", "phi3:mini", "--per-token", "const:0.5") as url:
        pool = AsyncPool(providers=[Ollama("phi3:mini", base_url=url)], settings={"groups": {url: {"slots": 2}}})
        asking = asyncio.create_task(pool.infer("Tell me of the sea, at length.", no_cache=True))
        async with pool.stream("Tell me of the land, at length.", no_cache=True) as pieces:
            await anext(pieces)
            await pool.aclose()

            with pytest.raises(Cancelled, match="closing the pool"):
                await asking
            with pytest.raises(Cancelled):
                [piece async for piece in pieces]

    assert asyncio.all_tasks() == before


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupt_stops_the_models(tmp_path: Path) -> None:
    """Ctrl-C reaches the backend, which writes no more."""
    with running_upstream("--model", "phi3:mini", "--per-token", "const:0.5") as url:
        script = (
            "from llm_pool import Ollama, Pool\n"
            f"with Pool(providers=[Ollama('phi3:mini', base_url={url!r})]) as pool:\n"
            "    pieces = pool.stream('Tell me of the sea, at length.', deadline=30.0)\n"
            "    print(next(pieces), flush=True)\n"
            "    list(pieces)\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as program:
            assert program.stdout is not None
            assert program.stdout.readline()
            program.send_signal(signal.SIGINT)
            _, told = program.communicate(timeout=10)

        assert "KeyboardInterrupt" in told
        assert "Exception ignored" not in told
        assert program.returncode != 0


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_the_async_twin(config: Path, daemon: dict[str, str]) -> None:
    """In process, and with a daemon."""
    for pool in (AsyncPool(config=config), AsyncPool(url=daemon["http"]), AsyncPool(url=daemon["grpc"])):
        async with pool:
            answers = await asyncio.gather(*(pool.infer(f"Name {n}.", schema=Town) for n in range(3)))
            chat = await pool.chat([{"role": "user", "content": "Hello."}])
            async with pool.stream("Tell me of the sea.") as pieces:
                text = "".join([piece async for piece in pieces])

            assert [type(answer.value) for answer in answers] == [Town] * 3
            assert chat.content.endswith("Hello.")
            assert pieces.answer.content == text.strip()


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_nothing_is_opened_before_it_is_needed(tmp_path: Path) -> None:
    """And after the end nothing is."""
    pool = AsyncPool(config=tmp_path / "gone.toml")

    with pytest.raises(ConfigError, match=r"gone\.toml"):
        await pool.infer("hello")
    await pool.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await pool.infer("hello")


def test_a_loaded_configuration(config: Path) -> None:
    with Pool(config=load(config)) as pool:
        assert pool.infer(Query(prompt="hello"), strategy=StrategyName.FASTEST).winner == "phi3"


def test_without_arguments_it_is_the_pool_that_counts(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the command line."""
    monkeypatch.setenv("LLM_POOL_CONFIG", str(config))

    with Pool() as pool:
        assert pool.infer("hello").winner == "phi3"


def test_mistakes_are_told_when_it_is_made(config: Path) -> None:
    """What is wrong, where, and the way out."""
    with pytest.raises(ConfigError, match=r"providers\[0\].weight.*got -1"):
        Pool(providers=[Ollama("phi3:mini", weight=-1)])
    with pytest.raises(ConfigError, match=r"qos.hegde"):
        Pool(providers=[Ollama("phi3:mini")], settings={"qos": {"hegde": "off"}})
    with pytest.raises(InvalidRequest, match="one of config, providers and url"):
        Pool(config=config, url="http://127.0.0.1:7071")
    with pytest.raises(InvalidRequest, match="settings"):
        Pool(config=config, settings={})
    with pytest.raises(InvalidRequest, match="url"):
        Pool(url="127.0.0.1:7071")


def test_a_daemon_that_is_not_there() -> None:
    with Pool(url="http://127.0.0.1:9") as pool, pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        pool.infer("hello", deadline=2.0)


def test_a_closed_pool_says_so(make_pool: Callable[[], Pool]) -> None:
    pool = make_pool()
    pool.close()
    pool.close()

    with pytest.raises(RuntimeError, match="the pool is closed"):
        pool.infer("hello")


def test_settings_lie_over_the_built_in_ones(upstream: str) -> None:
    """Table by table; deadlines of other tasks stay as they are."""
    settings = {"ensemble": {"default_strategy": "VOTING"}, "qos": {"max_prompt_bytes": 8}}
    with Pool(providers=[Ollama("phi3:mini", base_url=upstream)], settings=settings) as pool:
        assert pool.infer("short").strategy_used is StrategyName.VOTING
        with pytest.raises(LlmPoolError, match="limit of 8"):
            pool.infer("much too long", task="expand_queries")
