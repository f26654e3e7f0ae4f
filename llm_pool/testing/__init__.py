"""Public fakes: what a test plays the outside world with."""

from llm_pool.testing.observer import RecordingObserver
from llm_pool.testing.samples import a_call, a_panel, an_answer
from llm_pool.testing.scripted import Calls, FakeProvider, ReceivedCall, Reply, ScriptedProvider, scripted
from llm_pool.testing.virtual_time import Deadlock, ManualClock, VirtualLoop

__all__ = [
    "Calls",
    "Deadlock",
    "FakeProvider",
    "ManualClock",
    "ReceivedCall",
    "RecordingObserver",
    "Reply",
    "ScriptedProvider",
    "VirtualLoop",
    "a_call",
    "a_panel",
    "an_answer",
    "scripted",
]
