"""Whether a model thinks before it answers: who decides, what that costs, and how each server is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_pool.core.messages import Call, Think


def resolved(call: Call, own: Think | None) -> Think | None:
    """
    Whether the model thinks: as the request or task say, else as the provider's *own* key says.

    Where none does: not where JSON is asked for, else None, which leaves it to the backend.
    """
    if call.think is not None:
        return call.think
    if own is not None:
        return own
    return False if call.schema is not None else None


def token_limit(call: Call, think: Think | None) -> int | None:
    """
    Tokens that the backend may write, thinking and answer together: no server counts the two apart.

    None where the call has no limit.
    """
    return None if call.max_tokens is None else call.max_tokens + _budget(think, call.think_tokens)


def openai_fields(think: Think | None) -> dict[str, Any]:
    """
    The fields of ``/v1/chat/completions``.

    vLLM, SGLang and llama-server hand ``chat_template_kwargs`` to the model's template; templates call the switch
    ``enable_thinking`` (Qwen, GLM) or ``thinking`` (DeepSeek, Granite), and pass over what they do not know. A
    level is ``reasoning_effort``, which LM Studio knows too.

    Source: vLLM, docs/features/reasoning_outputs; SGLang, docs/basic_usage; llama.cpp, tools/server/README.md.
    """
    if think is None:
        return {}
    switch = {"enable_thinking": bool(think), "thinking": bool(think)}
    effort = {"reasoning_effort": think} if isinstance(think, str) else {}
    return {"chat_template_kwargs": switch, **effort}


def _budget(think: Think | None, medium: int) -> int:
    match think:
        case None | False:
            return 0
        case "low":
            return max(1, medium // 4)
        case "high":
            return medium * 4
        case _:
            return medium
