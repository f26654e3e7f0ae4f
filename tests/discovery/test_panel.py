"""The choice among found models."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from llm_pool.config import Driver
from llm_pool.discovery.models import FoundModel
from llm_pool.discovery.panel import MEMORY_SHARE, OVERHEAD, by_size, choose, weights

GB = 10**9


def model(name: str, gigabytes: float | None, *, shares_memory: bool = True) -> FoundModel:
    size = None if gigabytes is None else int(gigabytes * GB)
    url = "http://127.0.0.1:11434"
    return FoundModel(name=name, server="Ollama", driver=Driver.OLLAMA, url=url, size=size, shares_memory=shares_memory)


models = st.lists(
    st.builds(
        model,
        st.sampled_from(["qwen:a", "qwen:b", "gemma:a", "gemma:b", "phi:a", "llama:a", "mistral:a", "llama:b"]),
        st.one_of(st.none(), st.floats(0.1, 60)),
        shares_memory=st.booleans(),
    ),
    max_size=9,
    unique_by=lambda one: one.name,
)
memory = st.one_of(st.none(), st.integers(1, 128).map(lambda gigabytes: gigabytes * GB))


def fits(chosen: tuple[FoundModel, ...], memory: int | None) -> bool:
    needed = sum(OVERHEAD * (one.bytes or 0) for one in chosen if one.shares_memory)
    return memory is None or needed <= memory * MEMORY_SHARE


@given(models, memory, st.integers(1, 3))
def test_it_is_a_few_of_those_there_are(models: list[FoundModel], memory: int | None, most: int) -> None:
    chosen = choose(models, memory=memory, most=most)

    assert set(chosen) <= set(models)
    assert len(chosen) == len(set(chosen)) <= most
    assert bool(chosen) == bool(models)


@given(models, memory)
def test_it_fits_wherever_something_does(models: list[FoundModel], memory: int | None) -> None:
    chosen = choose(models, memory=memory)

    assert fits(chosen, memory) or (len(chosen) == 1 and not any(fits((one,), memory) for one in models))


@given(models, memory)
def test_no_other_that_fits_has_more_families(models: list[FoundModel], memory: int | None) -> None:
    chosen = choose(models, memory=memory)

    for count in (1, 2, 3):
        for other in combinations(models, count):
            if fits(other, memory):
                assert len({one.lineage for one in other}) <= len({one.lineage for one in chosen})


@given(models, memory, st.randoms())
def test_the_order_in_which_servers_answer_changes_nothing(models: list[FoundModel], memory: int | None, rng) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    shuffled = list(models)
    rng.shuffle(shuffled)

    assert choose(shuffled, memory=memory) == choose(models, memory=memory)


@given(models)
def test_weights_grow_with_size(models: list[FoundModel]) -> None:
    known = [one for one in by_size(models) if one.bytes]
    found = weights(known)

    assert found == sorted(found)
    assert all(0 < weight <= 1 for weight in found)
    assert not found or found[-1] == 1.0


def test_different_families_come_before_larger_models() -> None:
    found = [model("qwen3:4b", 2.5), model("qwen3:14b", 9.3), model("gemma3:4b", 3.3), model("phi4-mini", 2.5)]

    assert [one.name for one in choose(found, memory=64 * GB)] == ["phi4-mini", "gemma3:4b", "qwen3:14b"]


def test_a_model_too_large_for_the_machine_makes_way() -> None:
    found = [model("qwen3:4b", 2.5), model("gemma3:4b", 3.3), model("llama3.3:70b", 42.5)]

    assert [one.name for one in choose(found, memory=16 * GB)] == ["qwen3:4b", "gemma3:4b"]


def test_what_is_in_a_server_already_takes_no_further_memory() -> None:
    found = [model("qwen3:4b", 2.5), model("llama-70b", None, shares_memory=False)]

    assert [one.name for one in choose(found, memory=8 * GB)] == ["qwen3:4b", "llama-70b"]
