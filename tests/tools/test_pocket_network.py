"""The pocket network and its export; needs the extra ``pocket``, and says so where it is not installed."""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

torch = pytest.importorskip("torch", reason="the extra 'pocket' is not installed")
pytest.importorskip("gguf", reason="the extra 'pocket' is not installed")
pytest.importorskip("tokenizers", reason="the extra 'pocket' is not installed")
xllamacpp = pytest.importorskip("xllamacpp", reason="the extra 'embedded' is not installed")


def test_llama_cpp_computes_what_was_trained(tmp_path: Path) -> None:
    """The exported file gives the tokens and the next-token probabilities of the network it was made from."""
    from tools.pocket.export import write_gguf
    from tools.pocket.model import Pocket, Shape
    from tools.pocket.oracle import examples
    from tools.pocket.tokenizer import Tokenizer, as_chat

    torch.manual_seed(0)
    texts = [text for one in examples(Random(1), 200) for text in (one.prompt, one.answer)]
    tokenizer = Tokenizer.train(texts, size=512)
    model = Pocket(Shape(vocab=len(tokenizer), width=64, layers=2, heads=2, feed=96))
    prompt = as_chat('judge: {"id": 12, "text": "Mellow zorb"}')
    tokens = torch.tensor([tokenizer.encode(prompt)[0]])
    with torch.no_grad():
        ours = model(model.hidden(tokens)[0, -1]).log_softmax(-1)

    write_gguf(tmp_path / "m.gguf", model, tokenizer, name="test")
    params = xllamacpp.CommonParams()
    params.model.path = str(tmp_path / "m.gguf")
    params.n_ctx, params.warmup, params.verbosity, params.cpuparams.n_threads = 256, False, 0, 1
    reply = xllamacpp.Server(params).handle_completions(
        {"prompt": prompt, "n_predict": 1, "n_probs": 5, "temperature": 0}
    )

    assert reply["usage"]["prompt_tokens"] == tokens.shape[1]
    for told in reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
        assert math.isclose(told["logprob"], ours[told["id"]], abs_tol=0.05)


def test_training_learns_answers_and_points_at_hints() -> None:
    """Sixty steps on the generator's examples lower the loss; rows point their hints at tokens of the prompt."""
    from tools.pocket.model import Pocket, Shape
    from tools.pocket.oracle import example, examples
    from tools.pocket.tokenizer import Tokenizer
    from tools.pocket.train import encode, train

    torch.manual_seed(0)
    texts = [text for one in examples(Random(1), 200) for text in (one.prompt, one.answer)]
    tokenizer = Tokenizer.train(texts, size=512)
    model = Pocket(Shape(vocab=len(tokenizer), width=64, layers=1, heads=2, feed=96))
    row = encode(tokenizer, example(Random(2), "judge"))
    tokens, last = torch.tensor([row.tokens[:-1]]), torch.tensor(row.tokens[row.start :])

    def loss() -> float:
        with torch.no_grad():
            logits = model(model.hidden(tokens)[0, row.start - 1 :])
        return float(torch.nn.functional.cross_entropy(logits, last))

    before = loss()
    train(model, tokenizer, fresh=True, steps=60, batch=1024, rate=0.01, seed=1, device="cpu")

    assert loss() < before - 1
    assert row.hinted
    assert all(at < row.start for at, _ in row.hinted)
    assert math.isclose(sum(row.weights), 1)
