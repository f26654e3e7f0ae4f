from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import msgspec

from llm_pool.evaluation.applying import changed_text, diff, replace_file, teach, weights
from llm_pool.trust.store import TrustStore
from tests.evaluation.conftest import Configure, evaluated, made_up

if TYPE_CHECKING:
    from pathlib import Path

    from llm_pool.config import Config
    from llm_pool.evaluation.evaluate import Evaluation


def evaluation_of(config: Config) -> Evaluation:
    return evaluated(config, made_up(60))


def with_subject(evaluation: Evaluation, subject: str) -> Evaluation:
    [section] = evaluation.sections
    assert section.recommendation is not None
    found = msgspec.structs.replace(section.recommendation, subject=subject)
    return msgspec.structs.replace(evaluation, sections=(msgspec.structs.replace(section, recommendation=found),))


def test_comments_and_everything_else_stay(configure: Configure) -> None:
    config = configure('# mine\n[ensemble]   # of three\ndisabled = ["JUDGE"]\n')
    text = config.path.read_text(encoding="utf-8")

    after = changed_text(text, config, with_subject(evaluation_of(config), "WEIGHTED"))

    before, found = tomllib.loads(text), tomllib.loads(after)
    assert "# mine\n" in after
    assert "# of three" in after
    assert found["ensemble"]["strategy_by_task"] == {"ask": "WEIGHTED"}
    for one in found["providers"]:
        assert one.pop("weight") > 0
    assert found["providers"] == before["providers"]
    assert '+ask = "WEIGHTED"' in diff(config.path, text, after)


def test_applied_twice_it_changes_nothing_more(configure: Configure) -> None:
    config = configure('[ensemble]\ndisabled = ["JUDGE"]\n')
    evaluation = evaluation_of(config)
    once = changed_text(config.path.read_text(encoding="utf-8"), config, evaluation)
    replace_file(config.path, once)

    from llm_pool.config import load

    assert changed_text(once, load(config.path), evaluation) == once


def test_weights_follow_who_is_right(configure: Configure) -> None:
    config = configure('[ensemble]\ndisabled = ["JUDGE"]\n')

    found = weights(config, evaluation_of(config))

    assert found["small"] < found["middle"] < found["large"]


def test_a_single_model_becomes_the_tasks_only_provider(configure: Configure) -> None:
    config = configure('[ensemble]\ndisabled = ["JUDGE"]\n[tasks.ask]\nstrategy = "VOTING"  # so far\n')
    evaluation = with_subject(evaluation_of(config), "large")

    after = tomllib.loads(changed_text(config.path.read_text(encoding="utf-8"), config, evaluation))

    assert after["tasks"]["ask"] == {"strategy": "FASTEST", "providers": ["large"]}


def test_a_labelled_question_teaches_once(configure: Configure, tmp_path: Path) -> None:
    evaluation = evaluation_of(configure('[ensemble]\ndisabled = ["JUDGE"]\n'))
    store = TrustStore(tmp_path / "state" / "trust.json")

    first = teach(evaluation, store)
    learned = store.path.read_bytes()

    assert first == 60
    assert store.load().has_enough("ask")
    assert teach(evaluation, store) == 0
    assert store.path.read_bytes() == learned
