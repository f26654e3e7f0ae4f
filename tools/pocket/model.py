"""The network: Llama's architecture, small enough for a bundled file."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as fn


@dataclass(frozen=True)
class Shape:
    """
    Everything that fixes the size of a model.

    Widths are multiples of 32, the block of Q8_0. ``context`` is what the file declares; positions beyond
    the training lengths work less well.
    """

    vocab: int
    width: int = 160
    layers: int = 4
    heads: int = 5
    feed: int = 448
    context: int = 2048
    rope_base: float = 10000.0
    epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads


def rotation(shape: Shape, length: int) -> Tensor:
    """Angles by position and pair, as complex numbers of size one, (length, head_width / 2)."""
    pairs = torch.arange(0, shape.head_width, 2, dtype=torch.float32) / shape.head_width
    angles = torch.outer(torch.arange(length, dtype=torch.float32), shape.rope_base**-pairs)
    return torch.polar(torch.ones_like(angles), angles)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn neighbouring pairs by their position: llama.cpp's own order, so weights need no permutation."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * angles).flatten(-2).type_as(x)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """
    Causal attention, (batch, heads, length, head_width) each.

    Spelled out: on a CPU, torch's fused one takes half of a training step's time on its way back.
    """
    later = torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool, device=q.device).triu(1)
    scores = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(later, -torch.inf)
    return scores.softmax(-1, dtype=torch.float32).type_as(v) @ v


class Block(nn.Module):
    """Attention and SwiGLU, each behind an RMSNorm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.attn_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        self.attn_q = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_k = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_v = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_output = nn.Linear(shape.width, shape.width, bias=False)
        self.ffn_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        self.ffn_gate = nn.Linear(shape.width, shape.feed, bias=False)
        self.ffn_up = nn.Linear(shape.width, shape.feed, bias=False)
        self.ffn_down = nn.Linear(shape.feed, shape.width, bias=False)

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:
        """(batch, length, width) to the same."""
        inside = self.attn_norm(x)
        q, k, v = (
            f(inside).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.attn_q, self.attn_k, self.attn_v)
        )
        mixed = attend(rotate(q, angles), rotate(k, angles), v)
        x = x + self.attn_output(mixed.transpose(1, 2).flatten(-2))
        inside = self.ffn_norm(x)
        return x + self.ffn_down(fn.silu(self.ffn_gate(inside)) * self.ffn_up(inside))


class Pocket(nn.Module):
    """Token numbers to logits; input and output share one embedding. Parameters carry GGUF's names."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocab, shape.width)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                quiet = (2 * shape.layers) ** -0.5 if name.endswith(("attn_output.weight", "ffn_down.weight")) else 1.0
                nn.init.normal_(weight, std=0.02 if "embd" in name else quiet * weight.shape[1] ** -0.5)

    def hidden(self, tokens: Tensor) -> Tensor:
        """(batch, length) whole numbers to (batch, length, width): what the last layer knows at each place."""
        angles = rotation(self.shape, tokens.shape[1]).to(tokens.device)
        x: Tensor = self.token_embd(tokens)
        for block in self.blk:
            x = block(x, angles)
        normed: Tensor = self.output_norm(x)
        return normed

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., width) to the logits of the next token, (..., vocab)."""
        return hidden @ self.token_embd.weight.T
