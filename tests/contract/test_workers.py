"""Several workers behind one address are one daemon: real processes, a real Redis, a scripted upstream."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.testing.processes import running_upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.contract.conftest import RedisServer

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="children are looked up in /proc"),
]
WORKERS = 2
CONFIG = """
[cache]
driver = "redis"
url = "{redis}"
[groups."{url}"]
slots = 3
[[providers]]
name = "a"
driver = "ollama"
model = "phi3:mini"
base_url = "{url}"
"""


class Pool:
    """A supervisor and its workers."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    @property
    def said(self) -> str:
        return self._log.read_text("utf-8")

    def address(self, scheme: str) -> str:
        return next(
            line.strip().removeprefix(scheme) for line in self.said.splitlines() if line.startswith("  " + scheme)
        )

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text("ascii")
        return [int(child) for child in children.split()]

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Over a connection of its own, which any worker may accept."""
        connection = http.client.HTTPConnection(self.address("http://"), timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            said = response.read()
        finally:
            connection.close()
        is_json = response.getheader("content-type", "").startswith("application/json")
        return response.status, json.loads(said) if is_json else said.decode()

    def counted(self, series: str) -> float:
        """The value of *series* on the page of metrics."""
        page = self.ask("GET", "/metrics")[1]
        return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(series))


@contextmanager
def serving(
    folder: Path, redis: RedisServer, url: str, *words: str, workers: int = WORKERS, change: tuple[str, str] = ("", "")
) -> Iterator[Pool]:
    config, log = folder / "llm-pool.toml", folder / "log"
    config.write_text(CONFIG.format(redis=redis.url, url=url).replace(*change, 1), encoding="utf-8")
    options = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--workers", str(workers), *words]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "llm_pool", "serve", "--config", str(config), *options],
            stdout=output,
            stderr=output,
            env={**os.environ, "LLM_POOL_STATE": str(folder / "state")},
        )
    pool = Pool(process, log)
    try:
        until(lambda: f"{workers} workers" in pool.said or process.poll() is not None)
        assert process.poll() is None, pool.said
        yield pool
    finally:
        for pid in [] if process.poll() is not None else [*pool.workers(), process.pid]:
            os.kill(pid, signal.SIGKILL)
        process.wait()


def until(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it does not come true"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether it runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_whoever_is_asked_speaks_for_all(tmp_path: Path, redis_server: RedisServer) -> None:
    """Answers, slots, recent requests, the hour and what is in flight are those of both; cancel reaches either."""
    with (
        running_upstream("--model", "phi3:mini", "--per-token", "const:0") as url,
        serving(tmp_path, redis_server, url) as pool,
    ):
        told: list[bool] = []

        def is_hit(number: int) -> bool:
            status, answer = pool.ask("POST", "/v1/infer", {"prompt": f"question {number}"})
            assert status == 200
            told.append(answer["from_cache"])
            return told[-1]

        assert not any(is_hit(number) for number in range(6))
        for number in range(6):
            until(lambda n=number: is_hit(n))  # on a busy machine Redis is too slow at first
        hits = sum(told)

        for _ in range(4):  # whichever worker takes the connection
            assert pool.counted('llmpool_requests_total{outcome="answered",task="ask"}') == len(told) - hits
            assert pool.counted('llmpool_requests_total{outcome="cached",task="ask"}') == hits
            assert pool.counted("llmpool_cache_hit_ratio") == pytest.approx(hits / len(told))
            assert pool.counted("llmpool_slots{") == 3
            status = pool.ask("GET", "/v1/status")[1]
            assert len(status["recent"]) == len(told)
            assert len({record["number"] for record in status["recent"]}) == len(told)
            assert status["providers"][0]["slots"] == 3
            minutes = pool.ask("GET", "/v1/hour")[1]["minutes"]
            assert (sum(m["answered"] for m in minutes), sum(m["cached"] for m in minutes)) == (len(told) - hits, hits)
        later = pool.ask("GET", f"/v1/status?since={status['latest']}")[1]
        assert later["recent"] == []


def test_a_request_is_cancelled_through_any_worker(tmp_path: Path, redis_server: RedisServer) -> None:
    """By the number that the status names it by; each of three that hang, one after the other."""
    with (
        running_upstream("--model", "phi3:mini", "--mode", "hang") as url,
        serving(tmp_path, redis_server, url) as pool,
    ):
        told: list[tuple[int, Any]] = []
        body = {"deadline_ms": 100_000}
        threads = [
            threading.Thread(target=lambda n=n: told.append(pool.ask("POST", "/v1/infer", body | {"prompt": f"q{n}"})))
            for n in range(3)
        ]
        for thread in threads:
            thread.start()
        until(lambda: len(pool.ask("GET", "/v1/status")[1]["requests"]) == 3)
        numbers = [request["number"] for request in pool.ask("GET", "/v1/status")[1]["requests"]]

        assert len(set(numbers)) == 3
        assert pool.counted("llmpool_in_flight") == 3
        for number in numbers:
            assert pool.ask("DELETE", f"/v1/requests/{number}") == (200, {"cancelled": True})
        for thread in threads:
            thread.join(30)
        assert [status for status, _ in told] == [499, 499, 499]
        assert pool.ask("DELETE", f"/v1/requests/{numbers[0]}")[0] == 404


def test_fewer_slots_than_workers_are_counted_for_all(tmp_path: Path, redis_server: RedisServer) -> None:
    """Of one slot there is one, whoever uses it: calls to the machine come one after the other."""
    one = ("slots = 3", "slots = 1")
    slow = ("--model", "phi3:mini", "--ttft", "const:0.3")
    with running_upstream(*slow) as url, serving(tmp_path, redis_server, url, change=one) as pool:
        pool.ask("POST", "/v1/infer", {"prompt": "first", "deadline_ms": 60_000})
        told: list[int] = []
        ask = lambda n: told.append(pool.ask("POST", "/v1/infer", {"prompt": f"q{n}", "deadline_ms": 60_000})[0])  # noqa: E731
        threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        assert told == [200] * 6
        assert pool.counted("llmpool_slots{") == 1
        with urllib.request.urlopen(f"{url}/_upstream/journal") as said:
            assert json.load(said)["counts"]["most_in_flight"] == 1


def test_a_dead_worker_is_followed_by_another(tmp_path: Path, redis_server: RedisServer) -> None:
    """While the other one goes on answering; and the status is whole again."""
    with running_upstream("--model", "phi3:mini") as url, serving(tmp_path, redis_server, url) as pool:
        first = pool.workers()
        assert len(first) == WORKERS

        os.kill(first[0], signal.SIGKILL)
        until(lambda: first[0] not in pool.workers())
        status, _ = pool.ask("POST", "/v1/infer", {"prompt": "who is left"})
        until(lambda: pool.counted("llmpool_slots{") == 3)

        assert status == 200
        assert len(pool.workers()) == WORKERS
        assert "another follows in 0.5 s" in pool.said


def test_asked_to_stop_all_end_what_they_began(tmp_path: Path, redis_server: RedisServer) -> None:
    """And nobody is left, nor the folder where they met."""
    slow = ("--model", "phi3:mini", "--ttft", "const:1.5")
    with running_upstream(*slow) as url, serving(tmp_path, redis_server, url) as pool:
        told: list[int] = []
        ask = lambda n: told.append(pool.ask("POST", "/v1/infer", {"prompt": f"q{n}", "deadline_ms": 30_000})[0])  # noqa: E731
        threads = [threading.Thread(target=ask, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        until(lambda: pool.counted("llmpool_in_flight") == 3)
        workers = pool.workers()

        pool.process.send_signal(signal.SIGTERM)
        code = pool.process.wait(60)

        for thread in threads:
            thread.join(30)
        assert (code, told) == (0, [200, 200, 200])
        assert not any(map(is_alive, workers))
        assert "stopping within 10 s" in pool.said
        assert pool.said.endswith("stopped\n")


def test_a_second_signal_stops_at_once(tmp_path: Path, redis_server: RedisServer) -> None:
    """What hangs is cut, long before the grace is over."""
    hanging = ("--model", "phi3:mini", "--mode", "hang")
    with running_upstream(*hanging) as url, serving(tmp_path, redis_server, url, "--grace", "120s") as pool:
        ask = {"prompt": "hello", "deadline_ms": 100_000}
        thread = threading.Thread(target=lambda: pool.ask("POST", "/v1/infer", ask))
        thread.start()
        until(lambda: pool.counted("llmpool_in_flight") == 1)

        pool.process.send_signal(signal.SIGINT)
        until(lambda: "stopping within" in pool.said)
        time.sleep(0.5)
        pool.process.send_signal(signal.SIGINT)

        assert pool.process.wait(60) == 0
        thread.join(30)


def test_a_hangup_reaches_every_worker(tmp_path: Path, redis_server: RedisServer) -> None:
    """The new configuration serves in all of them; one with a mistake in none."""
    with running_upstream("--model", "phi3:mini") as url, serving(tmp_path, redis_server, url, "--no-reload") as pool:
        config = tmp_path / "llm-pool.toml"
        text = config.read_text("utf-8")

        config.write_text(text.replace("slots = 3", "slots = 8"), encoding="utf-8")
        pool.process.send_signal(signal.SIGHUP)
        until(lambda: pool.counted("llmpool_slots{") == 8)
        config.write_text(text.replace('driver = "redis"', 'driver = "memory"'), encoding="utf-8")
        pool.process.send_signal(signal.SIGHUP)
        until(lambda: pool.counted('llmpool_reloads_total{result="refused"}') == WORKERS)

        assert pool.counted("llmpool_slots{") == 8
        assert pool.counted("llmpool_config_reload_ok") == 0
        problem = pool.ask("GET", "/v1/status")[1]["last_reload"]["error"]["message"]
        assert 'cache.driver: expected "redis", got "memory"' in problem


def test_workers_do_not_outlive_their_supervisor(tmp_path: Path, redis_server: RedisServer) -> None:
    """Also where it had no time to say so."""
    with running_upstream("--model", "phi3:mini") as url, serving(tmp_path, redis_server, url) as pool:
        workers = pool.workers()

        pool.process.kill()
        pool.process.wait()

        until(lambda: not any(map(is_alive, workers)))


def test_grpc_is_served_by_all(tmp_path: Path, redis_server: RedisServer) -> None:
    """At one address: of many connections, each worker takes some."""
    import grpc

    from llm_pool.wire import llmpool_pb2 as pb

    with running_upstream("--model", "phi3:mini") as url, serving(tmp_path, redis_server, url) as pool:
        options = [("grpc.use_local_subchannel_pool", 1)]
        for number in range(12):
            with grpc.insecure_channel(pool.address("grpc://"), options) as channel:
                call = channel.unary_unary("/llmpool.v1.LLMPool/Infer", response_deserializer=pb.Answer.FromString)
                query = pb.Query(prompt=f"over grpc {number}", deadline_ms=20_000)
                assert call(query.SerializeToString(), timeout=30).winner_model == "phi3:mini"

        assert pool.counted('llmpool_requests_total{outcome="answered",task="ask"}') == 12


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('driver = "redis"', 'driver = "memory"'), 'cache.driver: expected "redis", got "memory"'),
        (("slots = 3", "slots = 1\nshared = false"), ".shared: expected true, or 2 slots to be divided, got false"),
    ],
)
def test_what_cannot_be_shared_is_refused_at_the_start(
    tmp_path: Path, redis_server: RedisServer, change: tuple[str, str], said: str
) -> None:
    """With the key to set, and the exit code of a configuration that cannot be used."""
    config = tmp_path / "llm-pool.toml"
    config.write_text(
        CONFIG.format(redis=redis_server.url, url="http://127.0.0.1:9").replace(*change), encoding="utf-8"
    )
    words = ["serve", "--config", str(config), "--http-addr", "127.0.0.1:0", "--workers", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "llm_pool", *words], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 78
    assert said in " ".join(done.stderr.split())
    assert "--workers 1 needs none of it" in " ".join(done.stderr.split())
