"""Hosts of their own on one bridge: network namespaces that can be cut off."""

from __future__ import annotations

import asyncio
import subprocess
from typing import NamedTuple

SUBNET = "10.77.0"
GATEWAY = f"{SUBNET}.1"
"""The address of the side that asks: Envoy and the upstreams are there."""


class Host(NamedTuple):
    """A network namespace with one address on the bridge."""

    name: str
    address: str

    def command(self, *words: str) -> list[str]:
        """The command line that runs *words* there."""
        return ["ip", "netns", "exec", self.name, *words]

    async def cut(self) -> None:
        """Nothing comes in or goes out any more; what is sent is lost without a word."""
        await _run("ip", "link", "set", f"to-{self.name}", "down")

    async def mend(self) -> None:
        """Undo ``cut``."""
        await _run("ip", "link", "set", f"to-{self.name}", "up")

    async def cut_from(self, other: Host) -> None:
        """Nothing comes in from *other* any more."""
        await _run(*self.command("iptables", "-A", "INPUT", "-s", other.address, "-j", "DROP"))

    async def mend_to(self, other: Host) -> None:
        """Undo ``cut_from``."""
        await _run(*self.command("iptables", "-D", "INPUT", "-s", other.address, "-j", "DROP"))


def open_network(*names: str) -> list[Host]:
    """Hosts with *names*; this process's own network and mount namespaces must be nobody else's."""
    run = _run_now
    run("mount", "-t", "tmpfs", "tmpfs", "/run")  # where iproute2 keeps the names
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "lan", "type", "bridge")
    run("ip", "addr", "add", f"{GATEWAY}/24", "dev", "lan")
    run("ip", "link", "set", "lan", "up")
    hosts = [Host(name, f"{SUBNET}.{number}") for number, name in enumerate(names, start=11)]
    for host in hosts:
        run("ip", "netns", "add", host.name)
        run("ip", "link", "add", f"to-{host.name}", "type", "veth", "peer", "name", "eth0", "netns", host.name)
        run("ip", "link", "set", f"to-{host.name}", "master", "lan", "up")
        run("ip", "-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
        run("ip", "-n", host.name, "link", "set", "eth0", "up")
        run("ip", "-n", host.name, "link", "set", "lo", "up")
    return hosts


def _run_now(*words: str) -> None:
    subprocess.run(words, check=True)  # noqa: S603  our own words


async def _run(*words: str) -> None:
    process = await asyncio.create_subprocess_exec(*words)
    if await process.wait() != 0:
        raise RuntimeError(f"{' '.join(words)} failed")
