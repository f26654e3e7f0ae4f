"""
What the benches of the daemon's cost share: processes and what the kernel counts of them, an upstream, clients, pages.

They run on Linux, with Debian's ``nginx-light`` and ``wrk``.
"""
