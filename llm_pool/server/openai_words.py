"""What OpenAI's APIs have in common: how errors, counts, stop texts and efforts are said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_pool.core.messages import Answer, Json, Think
    from llm_pool.server.middleware import Scope

EFFORTS: dict[str, Think] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
"""OpenAI's words for how long a model thinks, and ours."""
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""OpenAI's word for a status; other 4xx are ``invalid_request_error``, 5xx ``server_error``."""


class StreamOptions(msgspec.Struct, frozen=True):
    """What a stream shall have beside the text."""

    include_usage: bool | None = None


def error_shape(status: int, body: Mapping[str, Json]) -> dict[str, Json]:
    """*body*, from ``wire.error_json``, as OpenAI would say it under *status*."""
    error = body["error"]
    kind = TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    message = f"{error['message']} ({error['hint']})" if error.get("hint") else error["message"]
    code = "model_not_found" if error["code"] == "unknown_model" else error["code"]
    return {"error": {"message": message, "type": kind, "param": error.get("field"), "code": code}}


def project_of(scope: Scope) -> str:
    """The project that a request names in its header; empty where it names none."""
    headers: Mapping[bytes, bytes] = dict(scope["headers"])
    return headers.get(b"openai-project", b"").decode("latin-1")


def think_of_effort(effort: str | None, field: str) -> Think | None:
    """Our word for OpenAI's *effort*; None where it leaves that open. Raises InvalidRequest, which names *field*."""
    if effort in {None, "", "auto", "default"}:
        return None
    if effort not in EFFORTS:
        raise InvalidRequest(field, f"expected one of {', '.join(EFFORTS)}, got '{effort[:40]}'")
    return EFFORTS[effort]


def meta_of(metadata: Mapping[str, Any] | None) -> dict[str, str]:
    """*metadata* as a query has it: what is no text is written as JSON."""
    said = metadata or {}
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode() for name, value in said.items()
    }


def stop_texts(stop: str | list[str] | None) -> tuple[str, ...]:
    """*stop* as a query has it: without what is empty."""
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    return tuple(text for text in stops if text)


def usage(*answers: Answer) -> dict[str, Json]:
    """What the whole panel spent on all *answers*; a backend that does not count adds nothing."""
    asked = sum(answer.usage.prompt_tokens or 0 for answer in answers)
    output = sum(answer.usage.completion_tokens or 0 for answer in answers)
    return {"prompt_tokens": asked, "completion_tokens": output, "total_tokens": asked + output}
