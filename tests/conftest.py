"""
What every test has.

* Async tests (``@pytest.mark.anyio``) run on virtual time. A test that talks to sockets, threads or processes asks
  for the real loop with ``@pytest.mark.real_loop``, on the test, the class or as the module's ``pytestmark``.
* The network is closed: only loopback and Unix sockets connect. (Python's sockets, that is; a Rust client's are
  its own.)
* A blocking call made by ``llm_pool`` on a running event loop raises ``blockbuster.BlockingError``.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Any

import pytest
from blockbuster import blockbuster_ctx

from llm_pool.testing import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real_loop: run this async test on a real event loop, in real time.")


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Virtual time, unless the test is marked ``real_loop``."""
    if request.node.get_closest_marker("real_loop"):
        return "asyncio", {}
    return "asyncio", {"loop_factory": VirtualLoop}


@pytest.fixture(scope="session", autouse=True)
def _closed_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _only_loopback(getattr(socket.socket, name)))
        yield


def _only_loopback(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if not isinstance(address, tuple) or _is_loopback(str(address[0])):
            return connect(self, address)
        raise PermissionError(f"tests talk to loopback only, not to {address}")

    return guarded


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(scope="session", autouse=True)
def _nothing_blocks() -> Iterator[None]:
    with blockbuster_ctx("llm_pool", excluded_modules=["llm_pool.testing"]) as watching:
        for function in watching.functions.values():  # importing at the place of use is how start-up stays quick
            function.can_block_in("<frozen importlib._bootstrap>", "_find_and_load")
        yield
