"""Log probabilities of an answer's tokens, for the APIs that have them: they are there where one provider is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.core.errors import InvalidRequest

if TYPE_CHECKING:
    from llm_pool.core.messages import Answer, Json, TokenLogprob
    from llm_pool.server.chat import Model


def check_alone(model: Model) -> None:
    """Raise InvalidRequest where *model* is more than one provider."""
    if len(model.providers) != 1:
        raise InvalidRequest("logprobs", "an ensemble's answer has none", hint="name one provider as the model")


def token_logprobs(answer: Answer) -> tuple[TokenLogprob, ...]:
    """Those of the winner's tokens."""
    won = answer.decision.winning_attempt
    return () if won is None else won.logprobs


def token_json(token: TokenLogprob, top: int) -> dict[str, Json]:
    """*token* as OpenAI and Ollama tell it, with up to *top* alternatives."""
    return {**_weighed(token.token, token.logprob), "top_logprobs": [_weighed(*other) for other in token.top[:top]]}


def _weighed(text: str, logprob: float) -> dict[str, Json]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}
