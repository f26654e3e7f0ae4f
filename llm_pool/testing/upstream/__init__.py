"""
The scripted upstream: a backend that speaks Ollama and OpenAI and does what a test tells it to.

In-process ``async with Upstream(...) as up``; from a shell ``python -m llm_pool.testing.upstream --help``; as a process
of its own ``llm_pool.testing.processes``. It runs in real time on real sockets.

::

    Connection ─Request─▶ server ─TextRequest─▶ answers ─ScriptedAnswer─▶ generation ─▶ exchange ─bytes─▶ Connection
                             └─▶ machine: a slot on a loaded model          └─ a mode spoils it
"""

from llm_pool.testing.upstream.answers import ScriptedAnswer, ScriptedCall, TextRequest
from llm_pool.testing.upstream.journal import Counts, Entry
from llm_pool.testing.upstream.machine import Model
from llm_pool.testing.upstream.server import Upstream

__all__ = ["Counts", "Entry", "Model", "ScriptedAnswer", "ScriptedCall", "TextRequest", "Upstream"]
