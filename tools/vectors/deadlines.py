"""What is left of a deadline, as ``X-Deadline-Ms`` says it, and how long a client itself waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.client.http_transport import GRACE, deadline_header

if TYPE_CHECKING:
    from llm_pool.core.messages import Json

REMAINING_MS = (0.25, 1.0, 1.5, 999.75, 1000.0, 1500.0, 86_400_000.0, 999_999_999.0, 1e12)


def vectors() -> Json:
    """*grace_ms* is how much longer than its deadline a client waits for the server to say that it passed."""
    sent = [{"remaining_ms": ms, "x_deadline_ms": deadline_header(ms / 1000)} for ms in REMAINING_MS]
    over = {"remaining_ms": 0.0, "code": "deadline_exceeded"}
    return {"grace_ms": GRACE * 1000, "sent": sent, "over": over}
