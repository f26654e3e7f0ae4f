"""
The pool inside a Python program; ``llm_pool`` exports the names.

::

    Pool ──▶ AsyncPool ──Query──▶ Backend: LocalPool (an engine in this process), or the client of a daemon
         ◀─Answer[T]─    ◀─core's Answer──
"""
