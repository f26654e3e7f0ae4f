"""
Training: examples straight from the generator, batches of like length, loss on the answer alone.

Each answer counts the same, however long: in a judge's answer two tokens decide, and a plan's eighty would drown them.
Of an answer that is a choice with a comment, the choice has most of that count. Beside answers, ``hints`` are learnt.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional as fn

from tools.pocket.hints import LABELS, hints
from tools.pocket.oracle import examples
from tools.pocket.tokenizer import END, USER, as_chat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from tools.pocket.model import Pocket
    from tools.pocket.oracle import Example
    from tools.pocket.tokenizer import Tokenizer

BUFFER_SIZE = 1024
"""Examples sorted by length at a time: enough to waste little on padding."""
DECIDING = 0.8
"""What the deciding part of an answer counts, of 1 for the whole answer."""
HINTING = 0.5
"""What the hints count beside the answers."""


class Row(NamedTuple):
    """One example as the model sees it: *weights* of the answer's tokens sum to 1, *hinted* are places and labels."""

    tokens: list[int]
    start: int
    weights: list[float]
    hinted: list[tuple[int, int]]


class Batch(NamedTuple):
    """
    Rows side by side, padded.

    *tokens*, *targets* (-1 where nothing is learnt) and *weights* are (rows, length); *places* is (hints, 2), row and
    token of each hint, and *labels* (hints,).
    """

    tokens: Tensor
    targets: Tensor
    weights: Tensor
    places: Tensor
    labels: Tensor

    def to(self, device: str) -> Batch:
        """The same on *device*."""
        return Batch(*(part.to(device) for part in self))


def train(
    model: Pocket,
    tokenizer: Tokenizer,
    *,
    fresh: bool,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
    device: str,
) -> None:
    """
    Teach *model* for *steps* batches of about *batch* tokens; prints loss, speed and time left.

    For a *fresh* one the difficulty rises over the first half. The learning rate warms up for 1 percent of the steps
    and then falls in a straight line to zero. Hidden matrices learn by Muon, embedding and norms by AdamW.
    Source of that division: Jordan et al. 2024, Muon: An optimizer for hidden layers in neural networks.
    """
    head = nn.Linear(model.shape.width, LABELS)
    model.to(device)
    head.to(device)
    optimizers = _optimizers(model, head, rate)
    began, seen = time.monotonic(), 0
    for step, rows in enumerate(_batches(tokenizer, fresh=fresh, steps=steps, batch=batch, seed=seed)):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["full"] * min(1.0, (step + 1) / (steps * 0.01)) * (1 - step / steps)
        loss = _step(model, head, optimizers, rows.to(device))
        seen += rows.tokens.numel()
        if step % 100 == 0 or step == steps - 1:
            spent = time.monotonic() - began
            left = spent / (step + 1) * (steps - step - 1)
            print(
                f"step {step}/{steps}  loss {loss:.3f}  {seen / spent:.0f} tokens/s  {left / 60:.1f} min left",
                flush=True,
            )
    model.cpu()


def _optimizers(model: Pocket, head: nn.Linear, rate: float) -> list[torch.optim.Optimizer]:
    named = dict(model.named_parameters())
    hidden = [weight for name, weight in named.items() if weight.ndim == 2 and "embd" not in name]
    others = [weight for name, weight in named.items() if weight.ndim != 2 or "embd" in name]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(hidden, lr=rate, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW([*others, *head.parameters()], lr=rate / 4, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["full"] = group["lr"]
    return optimizers


def _step(model: Pocket, head: nn.Linear, optimizers: list[torch.optim.Optimizer], rows: Batch) -> float:
    asked = rows.targets >= 0
    with torch.autocast(rows.tokens.device.type, torch.bfloat16):
        hidden = model.hidden(rows.tokens)
        logits = model(hidden[asked])
        hinted = head(hidden[rows.places[:, 0], rows.places[:, 1]])
    losses = fn.cross_entropy(logits.float(), rows.targets[asked], reduction="none")
    loss = (losses * rows.weights[asked]).sum() / len(rows.tokens)
    hinting = fn.cross_entropy(hinted.float(), rows.labels, reduction="sum") / max(1, len(rows.labels))
    (loss + HINTING * hinting).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def encode(tokenizer: Tokenizer, example: Example) -> Row:
    """*example* in tokens."""
    prompt, prompt_ends = tokenizer.encode(as_chat(example.prompt))
    answer, ends = tokenizer.encode(example.answer + END)
    deciding = sum(end <= example.deciding for end in ends)
    rest = len(answer) - deciding
    share = DECIDING if deciding else 0.0
    weights = [share / deciding] * deciding if deciding else []
    hinted = [(bisect_right(prompt_ends, len(USER) + hint.place), hint.label) for hint in hints(example)]
    return Row(prompt + answer, len(prompt), weights + [(1 - share) / rest] * rest, hinted)


def _batches(tokenizer: Tokenizer, *, fresh: bool, steps: int, batch: int, seed: int) -> Iterator[Batch]:
    rng, made = Random(seed), 0
    while made < steps:
        ease = 1 - 2 * made / steps if fresh else 0.0
        pool = [encode(tokenizer, example) for example in examples(rng, BUFFER_SIZE, ease=ease)]
        packs = _packs(sorted(pool, key=lambda row: len(row.tokens)), batch)
        rng.shuffle(packs)
        for pack in packs[: steps - made]:
            yield _together(pack)
        made += len(packs)


def _packs(rows: list[Row], batch: int) -> list[list[Row]]:
    """Neighbouring rows whose padded size stays below *batch* tokens."""
    packs: list[list[Row]] = [[]]
    for row in rows:
        if packs[-1] and len(row.tokens) * (len(packs[-1]) + 1) > batch:
            packs.append([])
        packs[-1].append(row)
    return packs


def _together(pack: list[Row]) -> Batch:
    longest = max(len(row.tokens) for row in pack) - 1
    tokens = torch.zeros(len(pack), longest, dtype=torch.long)
    targets = torch.full((len(pack), longest), -1)
    weights = torch.zeros(len(pack), longest)
    for place, row in enumerate(pack):
        last = len(row.tokens) - 1
        tokens[place, :last] = torch.tensor(row.tokens[:-1])
        targets[place, row.start - 1 : last] = torch.tensor(row.tokens[row.start :])
        weights[place, row.start - 1 : last] = torch.tensor(row.weights)
    hinted = [(place, at, label) for place, row in enumerate(pack) for at, label in row.hinted]
    told = torch.tensor(hinted, dtype=torch.long).reshape(-1, 3)
    return Batch(tokens, targets, weights, told[:, :2], told[:, 2])
