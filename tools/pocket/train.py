"""
Training: examples straight from the generator, batches of like length, loss on the answer alone.

Each answer counts the same, however long: in a judge's answer two tokens decide, and a plan's eighty would drown them.
"""

from __future__ import annotations

import time
from random import Random
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as fn

from tools.pocket.oracle import examples
from tools.pocket.tokenizer import END, as_chat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from tools.pocket.model import Pocket
    from tools.pocket.oracle import Example
    from tools.pocket.tokenizer import Tokenizer

Row = tuple[list[int], int]
"""Token numbers of prompt and answer, and where the answer starts."""

SHELF = 1024
"""Examples sorted by length at a time: enough to waste little on padding."""


def train(model: Pocket, tokenizer: Tokenizer, *, steps: int, batch: int, rate: float, seed: int, device: str) -> None:
    """
    Teach *model*, new or not, for *steps* batches of about *batch* tokens; prints loss, speed and time left.

    The difficulty rises over the first half. The learning rate warms up for 1 percent of the steps and then
    falls in a straight line to zero. Hidden matrices learn by Muon, embedding and norms by AdamW.
    Source of that division: Jordan et al. 2024, Muon: An optimizer for hidden layers in neural networks.
    """
    model.to(device)
    optimizers = _optimizers(model, rate)
    began, seen = time.monotonic(), 0
    for step, (tokens, targets) in enumerate(_batches(tokenizer, steps=steps, batch=batch, seed=seed)):
        pace = min(1.0, (step + 1) / (steps * 0.01)) * (1 - step / steps)
        loss = _step(model, optimizers, pace, tokens.to(device), targets.to(device))
        seen += tokens.numel()
        if step % 100 == 0 or step == steps - 1:
            spent = time.monotonic() - began
            left = spent / (step + 1) * (steps - step - 1)
            print(
                f"step {step}/{steps}  loss {loss:.3f}  {seen / spent:.0f} tokens/s  {left / 60:.1f} min left",
                flush=True,
            )
    model.cpu()


def _optimizers(model: Pocket, rate: float) -> list[torch.optim.Optimizer]:
    hidden = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and "embd" not in name]
    others = [weight for name, weight in model.named_parameters() if weight.ndim != 2 or "embd" in name]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(hidden, lr=rate, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(others, lr=rate / 4, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["full"] = group["lr"]
    return optimizers


def _step(
    model: Pocket, optimizers: list[torch.optim.Optimizer], pace: float, tokens: Tensor, targets: Tensor
) -> float:
    asked = targets >= 0
    with torch.autocast(tokens.device.type, torch.bfloat16):
        logits = model(tokens, asked)
    shares = (asked / asked.sum(1, keepdim=True))[asked] / len(tokens)
    loss = (fn.cross_entropy(logits.float(), targets[asked], reduction="none") * shares).sum()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = pace * group["full"]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def encode(tokenizer: Tokenizer, example: Example) -> Row:
    """One example as the model sees it."""
    prompt = tokenizer.encode(as_chat(example.prompt))
    return prompt + tokenizer.encode(example.answer + END), len(prompt)


def _batches(tokenizer: Tokenizer, *, steps: int, batch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    rng, made = Random(seed), 0
    while made < steps:
        shelf = [encode(tokenizer, example) for example in examples(rng, SHELF, ease=1 - 2 * made / steps)]
        packs = _packs(sorted(shelf, key=lambda row: len(row[0])), batch)
        rng.shuffle(packs)
        for pack in packs[: steps - made]:
            yield _tensors(pack)
        made += len(packs)


def _packs(rows: list[Row], batch: int) -> list[list[Row]]:
    """Neighbouring rows whose padded size stays below *batch* tokens."""
    packs: list[list[Row]] = [[]]
    for row in rows:
        if packs[-1] and len(row[0]) * (len(packs[-1]) + 1) > batch:
            packs.append([])
        packs[-1].append(row)
    return packs


def _tensors(pack: list[Row]) -> tuple[Tensor, Tensor]:
    longest = max(len(row) for row, _ in pack) - 1
    tokens = torch.zeros(len(pack), longest, dtype=torch.long)
    targets = torch.full((len(pack), longest), -1)
    for place, (row, start) in enumerate(pack):
        tokens[place, : len(row) - 1] = torch.tensor(row[:-1])
        targets[place, start - 1 : len(row) - 1] = torch.tensor(row[start:])
    return tokens, targets
