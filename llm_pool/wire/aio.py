"""GRPC's asyncio mode, entered once."""

from __future__ import annotations

from functools import cache


@cache
def enter_aio() -> None:
    """
    Enter asyncio mode for good; call it on a running loop, before the first server or channel.

    Else gRPC leaves the mode when the last of them is garbage, and by then the loop may be closed: it fails, and
    leaves a socket open.
    """
    import grpc

    grpc.aio.init_grpc_aio()
