"""
The scripted upstream: a backend that speaks Ollama and OpenAI and does what a test tells it to.

In-process ``async with Upstream(...) as up``; from a shell ``python -m llm_pool.testing.upstream --help``; as a process
of its own ``llm_pool.testing.processes``. It runs in real time on real sockets.

::

    Connection ─Request─▶ server ─Ask─▶ answers ─Said─▶ speech ─Speech─▶ exchange ─bytes─▶ Connection
                             └─▶ machine: a slot on a loaded model          └─ a mode spoils it
"""

from llm_pool.testing.upstream.answers import Ask, Said
from llm_pool.testing.upstream.journal import Counts, Entry
from llm_pool.testing.upstream.machine import Model
from llm_pool.testing.upstream.server import Upstream

__all__ = ["Ask", "Counts", "Entry", "Model", "Said", "Upstream"]
