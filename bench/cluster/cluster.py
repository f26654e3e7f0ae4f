"""One run: everything started, asked, broken and stopped; what was seen."""

from __future__ import annotations

import asyncio
import json
import math
import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.cluster.configuration import KEY, MODELS, MountedConfig, upstream_options
from bench.cluster.envoy import ADMIN_PORT, balancing
from bench.cluster.faults import Faults
from bench.cluster.load import DEADLINE, Load
from bench.cluster.network import open_network
from bench.cluster.processes import PORT, Redis, Replica, asked
from llm_pool.testing.processes import upstream_process

if TYPE_CHECKING:
    from pathlib import Path

    from bench.cluster.faults import Phase
    from bench.cluster.load import Outcome

PROMPT_ID = re.compile(r"\[(id-\d+)\]")


class UpstreamCall(NamedTuple):
    """
    One call that a machine got.

    Attributes:
        question: what was asked, letter by letter; a judge is asked more than once for one id.
        replica: who asked.
        arrived, ended: instants.
        ending: as in the upstream's journal.
    """

    request_id: str
    model: str
    question: str
    replica: str
    arrived: float
    ended: float
    ending: str


class Observed(NamedTuple):
    """
    What a run showed.

    Attributes:
        most_in_flight: of each machine.
        retries: of the balancer.
        exit_statuses: of the replicas that were asked to leave.
        rollouts: whether a replica took a new configuration, for each time.
        logs: what the replicas wrote.
    """

    outcomes: list[Outcome]
    calls: list[UpstreamCall]
    phases: list[Phase]
    rounds: int
    most_in_flight: list[int]
    retries: int
    exit_statuses: list[int]
    rollouts: list[bool]
    logs: str


async def run(seconds: float, rate: float, programs: dict[str, str], folder: Path) -> Observed:
    """Start everything, let it work and fail for about *seconds*, stop it."""
    *hosts, redis_host = open_network("r1", "r2", "r3", "redis")
    async with AsyncExitStack() as stack:
        machines = [
            await stack.enter_async_context(upstream_process(*upstream_options(model, folder))) for model in MODELS
        ]
        redis = Redis(programs["redis-server"], redis_host, folder)
        await redis.start()
        stack.push_async_callback(redis.stop)
        config = MountedConfig(folder / "config", redis_host, machines)
        replicas = [Replica(host, config.path, folder) for host in hosts]
        for replica in replicas:
            await replica.start()
            stack.push_async_callback(replica.stop)
        url = await stack.enter_async_context(balancing(programs["envoy"], hosts, PORT, folder, DEADLINE))
        load, faults, done = Load(url, KEY, rate), Faults(replicas, redis, config), asyncio.Event()
        asking = asyncio.create_task(load.run(done))
        try:
            await faults.run(seconds)
        finally:
            done.set()
            await asking
        journals = [await _journal(machine) for machine in machines]
        return Observed(
            outcomes=load.outcomes,
            calls=[call for journal in journals for call in _calls(journal)],
            phases=faults.phases,
            rounds=faults.rounds,
            most_in_flight=[journal["counts"]["most_in_flight"] for journal in journals],
            retries=await _retries(),
            exit_statuses=faults.exit_statuses,
            rollouts=faults.rollouts,
            logs="".join(replica.log.read_text() for replica in replicas),
        )


async def _journal(machine: str) -> dict[str, Any]:
    _, said = await asked("GET", f"{machine}/_upstream/journal")
    journal: dict[str, Any] = json.loads(said)
    return journal


def _calls(journal: dict[str, Any]) -> list[UpstreamCall]:
    found = []
    for entry in journal["entries"]:
        said = json.dumps(entry["body"], sort_keys=True)
        if entry["model"] and (request_id := PROMPT_ID.search(said)):
            replica = entry["headers"].get("x-replica", "")
            times = entry["arrived"], entry["ended"] or math.inf
            found.append(UpstreamCall(request_id[1], entry["model"], said, replica, *times, entry["ending"]))
    return found


async def _retries() -> int:
    _, said = await asked("GET", f"http://127.0.0.1:{ADMIN_PORT}/stats")
    told = re.search(rb"^cluster\.replicas\.upstream_rq_retry: (\d+)", said, re.MULTILINE)
    return int(told[1]) if told else 0
