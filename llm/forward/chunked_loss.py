"""The LM head and its cross-entropy in chunks of positions, so that the logits of a pack are never in memory at once.

Vocabularies are large: a position's logits are 85 times as wide as SmolLM2-135M's hidden states. Each chunk's logits
are replaced by their gradient, which is passed back through the head at once; saved are the gradients of the hidden
states and of the head's trained parameters (as in Liger Kernel, arXiv 2410.10989, section 3.2).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from llm.config.schema import RunConfig
from llm.devices import CPU, CUDA, limits_of
from llm.encoding.encoder import IGNORED
from llm.machine_constants import (
    FP32_LOGITS_CPU,
    FP32_LOGITS_CUDA,
    LOGITS_CHUNK_CPU,
    LOGITS_CHUNK_CUDA,
    LOGITS_CHUNK_ROWS,
)

CHUNK = {CPU: LOGITS_CHUNK_CPU.count, CUDA: LOGITS_CHUNK_CUDA.count}  # bytes of a chunk's logits
WIDE = {CPU: FP32_LOGITS_CPU.count, CUDA: FP32_LOGITS_CUDA.count}  # bytes of its logits that are in fp32 at a time
LEAST_ROWS = LOGITS_CHUNK_ROWS.count  # positions in a chunk, whatever the vocabulary


def in_chunks(config: RunConfig) -> bool:
    """Whether a run computes logits in chunks: not under ZeRO-3, which gathers weights only for calls of a module."""
    return config.parallel.zero != 3


def summed_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of cross-entropies, fp32, of logits [K, V] in any dtype and targets [K]. A target of IGNORED counts 0."""
    return cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="sum")


def hits(logits: Tensor, targets: Tensor) -> Tensor:
    """[K] bool: whether the target is the token with the largest of the logits [K, V]."""
    return torch.eq(logits.argmax(-1), targets)


class HeadLoss(nn.Module):
    """Summed cross-entropy, fp32 scalar, of a head's logits for hidden states [K, H]; targets [K] as in `summed_loss`.

    Without `in_chunks`, or with a head that is not exactly `nn.Linear`, all logits are computed at once.
    """

    def __init__(self, in_chunks: bool = True) -> None:
        super().__init__()
        self.in_chunks = in_chunks

    def forward(self, hidden: Tensor, head: nn.Module, targets: Tensor, device_type: str = "") -> Tensor:
        """The loss. Its gradient is computed in this forward pass, and only scaled in the backward pass.

        `device_type` selects the size of chunks; empty: the type of the device of `hidden`.
        """
        if type(head) is not nn.Linear or not self.in_chunks:
            return summed_loss(head(hidden), targets)
        device = limits_of(device_type or hidden.device.type)
        most = CHUNK[device] // (len(head.weight) * hidden.element_size())
        wide = max(1, WIDE[device] // (len(head.weight) * torch.float32.itemsize))
        inputs: tuple[Tensor | None, ...] = (hidden, head.weight, head.bias)
        if not torch.is_grad_enabled():  # _Chunked cannot tell: inside an autograd function it is always off
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
        for part in chunks(len(hidden), most):
            states = hidden[part]
            logits = torch.mm(states, weight.t()) if bias is None else torch.addmm(bias, states, weight.t())
            loss_of = _loss_and_gradient_ if any(wanted) else summed_loss
            for piece in chunks(len(states), wide):
                total += loss_of(logits[piece], targets[part][piece])
            if of_hidden is not None:
                torch.mm(logits, weight, out=of_hidden[part])
            if of_weight is not None:
                _add_product(of_weight, logits.t(), states * counts[part])
            if of_bias is not None:
                of_bias += torch.mm(counts[part].t(), logits)[0]
        if of_hidden is not None:
            of_hidden.mul_(counts)
        ctx.dtype = hidden.dtype
        ctx.save_for_backward(of_hidden, of_weight, of_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        # In fp32, so that the factor 1 / targets is not rounded. In place: torch refuses a second backward pass.
        found = (part if part is None else part.float().mul_(grads[0]).to(ctx.dtype) for part in ctx.saved_tensors)
        return *found, None, None, None


def chunks(count: int, most: int) -> Iterator[slice]:
    """Slices of `count` positions: as few as hold at most `most` each, of nearly equal size."""
    pieces = max(1, -(-count // most))
    for piece in range(pieces):
        yield slice(piece * count // pieces, (piece + 1) * count // pieces)


def _loss_and_gradient_(logits: Tensor, targets: Tensor) -> Tensor:
    """The summed loss, fp32, of logits [k, V], which are overwritten by its gradient.

    d loss / d logits = softmax(logits) - onehot(target). Where the target is IGNORED the caller has to zero it.
    """
    counts = targets != IGNORED
    index = targets.where(counts, 0)[:, None]  # gather raises for a target outside the vocabulary
    probabilities = torch.softmax(logits, -1, dtype=torch.float32)
    # log(sum(exp(logits))) from the largest probability, which is at least 1 / V: the target's may underflow.
    log_sum_exp = logits.amax(-1).float() - probabilities.amax(-1).log_()
    loss = log_sum_exp.sub_(logits.gather(1, index)[:, 0]).mul_(counts).sum()
    probabilities.scatter_add_(1, index, probabilities.new_full((1, 1), -1.0).expand(index.shape))
    logits.copy_(probabilities)
    return loss


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, summed in the dtype of `total`."""
    if total.dtype == left.dtype:
        torch.addmm(total, left, right, out=total)
    else:
        total += torch.mm(left, right)
