"""
Policies around a provider, each a provider itself.

::

    PromptVariant(Retrying(ConcurrencyLimited(Breaking(Suspecting(Timed(backend))))))

    Retrying   asks again before the first token, within the shared budget, and while a backend is loading
    Limited    waits for a slot on the machine (a Gate for each group, which knows what is loaded, and loads it), and
               lends it to others when its call is silent
    Shared     (``SharedSlotLimited``, only with a Redis) waits for a slot among all processes that ask the machine
    Breaking   leaves an ill backend alone (Breakers, one for each provider and task)
    Suspecting notes who is silent, so that others are asked first (Suspicions, likewise)
    Timed      ends an attempt in time and records how long it took

The order says who counts what:

- Timed stands next to the backend: it sees the backend's time and nothing else. Waiting in our queue is no latency
  of the backend's, cannot time an attempt out and so cannot trip a breaker.
- Suspecting stands inside Breaking: a call that the breaker refused says nothing, and is no trial of a suspect.
- Breaking stands around Timed, to see its timeouts, and *inside* Limited: the breaker is asked when the slot is
  there. So a probe's lease does not run while it queues, and when a breaker opens those who queue already are sent
  away one after the other in no time instead of meeting the dead backend each in turn. Whoever picks a panel looks at
  ``Breakers.refusal`` first, so that nobody queues for a breaker that is open anyway.
- Limited stands inside Retrying: a request gives its slot back while it waits to try again.
- Retrying is outermost: each of its attempts takes a slot, a permit and a time of its own, as another request would.

Every policy holds what it holds (slot, permit, timer) in a ``finally`` around ``aclosing(inner.stream(call))``: closing
the outer stream at any point closes the backend's and gives everything back.
"""
