"""The LM head and the loss behind it, a few rows at a time: the logits of a pack are never there at once.

A vocabulary is long: a row of logits is 85 times as wide as SmolLM2-135M's hidden states. Each chunk's logits become
its losses and their gradient, which goes through the head at once; kept are the gradients of the hidden states and of
what trains in the head (as in Liger Kernel, arXiv 2410.10989, section 3.2).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from llm.config.schema import RunConfig
from llm.encoding.encoder import IGNORED
from llm.machine_constants import (
    FP32_LOGITS_CPU,
    FP32_LOGITS_CUDA,
    LOGITS_CHUNK_CPU,
    LOGITS_CHUNK_CUDA,
    LOGITS_CHUNK_ROWS,
)

CHUNK = {"cpu": LOGITS_CHUNK_CPU.count, "cuda": LOGITS_CHUNK_CUDA.count}  # bytes of a chunk's logits
WIDE = {"cpu": FP32_LOGITS_CPU.count, "cuda": FP32_LOGITS_CUDA.count}  # bytes of those that are in fp32 at a time
LEAST_ROWS = LOGITS_CHUNK_ROWS.count  # of a chunk, whatever the vocabulary


def in_chunks(config: RunConfig) -> bool:
    """Whether a run's head can be multiplied chunk by chunk. ZeRO-3 gathers its weight for a whole call only."""
    return config.parallel.zero != 3


def summed_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of cross-entropies, fp32, of logits [K, V] in any dtype and targets [K]. A target of IGNORED counts 0."""
    return cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="sum")


def hits(logits: Tensor, targets: Tensor) -> Tensor:
    """Whether the target is the most likely token: [K] bool."""
    return torch.eq(logits.argmax(-1), targets)


class HeadLoss(nn.Module):
    """Summed cross-entropy, fp32 scalar, of hidden rows [K, H] behind a head; targets [K] as in `summed_loss`.

    Not `in_chunks`, or behind a head that is more than a plain linear, all logits are there at once.
    """

    def __init__(self, in_chunks: bool = True) -> None:
        super().__init__()
        self.in_chunks = in_chunks

    def forward(self, hidden: Tensor, head: nn.Module, targets: Tensor, device_type: str = "") -> Tensor:
        """The loss; its gradient is computed here, and only scaled in the backward pass.

        Chunks have the size for `device_type`; empty: for the device of `hidden`.
        """
        if type(head) is not nn.Linear or not self.in_chunks:
            return summed_loss(head(hidden), targets)
        device = device_type or hidden.device.type
        device = device if device in CHUNK else "cpu"
        most = CHUNK[device] // (len(head.weight) * hidden.element_size())
        wide = max(1, WIDE[device] // (len(head.weight) * torch.float32.itemsize))
        inputs: tuple[Tensor | None, ...] = (hidden, head.weight, head.bias)
        if not torch.is_grad_enabled():  # which the function below cannot see
            inputs = tuple(part if part is None else part.detach() for part in inputs)
        loss: Tensor = _Chunked.apply(*inputs, targets, max(LEAST_ROWS, most), wide)
        return loss


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, most: int, wide: int
    ) -> Tensor:
        wanted: tuple[bool, ...] = ctx.needs_input_grad[:3]
        of_hidden = torch.empty_like(hidden) if wanted[0] else None
        of_weight = torch.zeros_like(weight, dtype=torch.float32) if wanted[1] else None
        of_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and wanted[2] else None
        total, counts = hidden.new_zeros((), dtype=torch.float32), (targets != IGNORED)[:, None].to(hidden.dtype)
        for part in _chunks(len(hidden), most):
            rows = hidden[part]
            logits = torch.mm(rows, weight.t()) if bias is None else torch.addmm(bias, rows, weight.t())
            turn = _into_gradient if any(wanted) else summed_loss
            for piece in _chunks(len(rows), wide):
                total += turn(logits[piece], targets[part][piece])
            if of_hidden is not None:
                torch.mm(logits, weight, out=of_hidden[part])
            if of_weight is not None:
                _add_product(of_weight, logits.t(), rows * counts[part])
            if of_bias is not None:
                of_bias += torch.mm(counts[part].t(), logits)[0]
        if of_hidden is not None:
            of_hidden.mul_(counts)
        ctx.dtype = hidden.dtype
        ctx.save_for_backward(of_hidden, of_weight, of_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        # In fp32, where the step's 1 / targets is not rounded; fp32 gradients in place: a second pass is refused.
        found = (part if part is None else part.float().mul_(grads[0]).to(ctx.dtype) for part in ctx.saved_tensors)
        return *found, None, None, None


def _chunks(count: int, most: int) -> Iterator[slice]:
    """Rows in as few chunks of like size as the bound allows."""
    pieces = max(1, -(-count // most))
    for piece in range(pieces):
        yield slice(piece * count // pieces, (piece + 1) * count // pieces)


def _into_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """The summed loss, fp32, of logits [k, V], which become its gradient in place.

    d loss / d logits = softmax(logits) - onehot(target); where there is no target it is still to be zeroed.
    """
    counts = targets != IGNORED
    places = targets.where(counts, 0)[:, None]  # a target that is no token is refused below
    shares = torch.softmax(logits, -1, dtype=torch.float32)
    # log(sum(exp(logits))) from the largest share, which is at least 1 / V: the target's may underflow.
    sums = logits.amax(-1).float() - shares.amax(-1).log_()
    loss = sums.sub_(logits.gather(1, places)[:, 0]).mul_(counts).sum()
    shares.scatter_add_(1, places, shares.new_full((1, 1), -1.0).expand(places.shape))
    logits.copy_(shares)
    return loss


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right; chunks of low precision are summed in fp32."""
    if total.dtype == left.dtype:
        torch.addmm(total, left, right, out=total)
    else:
        total += torch.mm(left, right)
