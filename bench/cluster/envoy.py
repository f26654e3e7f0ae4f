"""The balancer: Envoy with one retry on another replica, and active health checks."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cluster.processes import ended, until_answered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bench.cluster.network import Host

PORT = 10000
ADMIN_PORT = 9901
RETRY_ON = "connect-failure,refused-stream,reset,retriable-status-codes"
CHECK = {"interval": "0.25s", "timeout": "0.5s", "unhealthy_threshold": 2, "healthy_threshold": 1}
TYPES = "type.googleapis.com/envoy.extensions"


def binary() -> str | None:
    """The program, beside this Python or on the path."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return shutil.which("envoy", path=os.pathsep.join(places))


@asynccontextmanager
async def balancing(program: str, replicas: list[Host], port: int, folder: Path, deadline: float) -> AsyncIterator[str]:
    """The address of an Envoy before *replicas*, which listen at *port*; it gives up after *deadline* and a second."""
    config = folder / "envoy.json"
    config.write_text(json.dumps(configuration(replicas, port, deadline)))
    words = [program, "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    with (folder / "envoy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*words, stdout=log, stderr=log)
    try:
        await until_answered(f"http://127.0.0.1:{ADMIN_PORT}/ready", process)
        yield f"http://127.0.0.1:{PORT}"
    finally:
        await ended(process)


def configuration(replicas: list[Host], port: int, deadline: float) -> dict[str, Any]:
    """Envoy's bootstrap configuration."""
    retries = {
        "retry_on": RETRY_ON,
        "retriable_status_codes": [503],
        "num_retries": 1,
        "per_try_timeout": f"{deadline / 2}s",  # longer than a dead replica's claim on an id lasts
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": f"{TYPES}.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
            }
        ],
        "host_selection_retry_max_attempts": 5,
    }
    route = {
        "match": {"prefix": "/"},
        "route": {"cluster": "replicas", "timeout": f"{deadline + 1}s", "retry_policy": retries},
    }
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}
        ],
    }
    listener = {
        "name": "in",
        "address": _address("127.0.0.1", PORT),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    cluster = {
        "name": "replicas",
        "type": "STATIC",
        "connect_timeout": "0.5s",
        "health_checks": [{**CHECK, "http_health_check": {"path": "/readyz"}}],
        "load_assignment": {
            "cluster_name": "replicas",
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": _address(host.address, port)}} for host in replicas]}
            ],
        },
    }
    return {
        "admin": {"address": _address("127.0.0.1", ADMIN_PORT)},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
