"""Log-probabilities of target tokens, with the LM head in chunks of positions; `chunked_loss` gives their sum alone.

A loss that is not linear in them knows what to pass back only after the forward pass. Each token's gradient with
respect to its own hidden state is computed in the forward pass and scaled in the backward pass; that of the head's
parameters needs the logits again, which are computed a second time where the head trains.
"""

from collections.abc import Iterator
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from llm.autograd import Context
from llm.devices import limits_of
from llm.encoding.encoder import IGNORED
from llm.forward.chunked_loss import CHUNK, LEAST_ROWS, chunks


def gathered(logits: Tensor, targets: Tensor) -> Tensor:
    """[K], fp32: log-probabilities of targets [K] under logits [K, V]. A target of IGNORED gives 0."""
    counts = targets != IGNORED
    return log_softmax(logits.float(), -1).gather(1, targets.where(counts, 0)[:, None])[:, 0] * counts


class HeadLogProbs(nn.Module):
    """Log-probabilities of targets for hidden states, as `gathered` of a head's logits.

    Without `in_chunks`, or with a head that is not exactly `nn.Linear`, all logits are computed at once.
    """

    def __init__(self, in_chunks: bool = True) -> None:
        super().__init__()
        self.in_chunks = in_chunks

    def forward(self, hidden: Tensor, head: nn.Module, targets: Tensor, device_type: str = "") -> Tensor:
        """[K], fp32, of hidden states [K, H] and targets [K]. `device_type` as in `HeadLoss`."""
        if type(head) is not nn.Linear or not self.in_chunks:
            return gathered(head(hidden), targets)
        device = limits_of(device_type or hidden.device.type)
        most = CHUNK[device] // (len(head.weight) * torch.float32.itemsize)
        inputs: tuple[Tensor | None, ...] = (hidden, head.weight, head.bias)
        if not torch.is_grad_enabled():  # as in HeadLoss
            inputs = tuple(part if part is None else part.detach() for part in inputs)
        return cast(Tensor, _TokenLogProbs.apply(*inputs, targets, max(LEAST_ROWS, most)))


class _Saved(Context, Protocol):
    """What the backward pass needs beside the saved tensors."""

    most: int


class _TokenLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Saved, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, most: int) -> Tensor:
        found = hidden.new_empty(len(hidden), dtype=torch.float32)
        of_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for part, logits in _logits(hidden, weight, bias, most):
            found[part] = gathered(logits, targets[part])
            if of_hidden is not None:
                torch.mm(_gradient(logits, targets[part]).to(weight.dtype), weight, out=of_hidden[part])
        trains_head = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        ctx.most = most
        ctx.save_for_backward(of_hidden, *((hidden, weight, bias, targets) if trains_head else (None,) * 4))
        return found

    @staticmethod
    def backward(ctx: _Saved, *grads: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, hidden, weight, bias, targets = ctx.saved_tensors
        scale = grads[0][:, None]
        of_weight = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        of_bias = torch.zeros_like(bias, dtype=torch.float32) if ctx.needs_input_grad[2] else None
        for part, logits in _logits(hidden, weight, bias, ctx.most) if hidden is not None else ():
            of_logits = _gradient(logits, targets[part]) * scale[part]
            if of_weight is not None:
                of_weight += torch.mm(of_logits.t().to(hidden.dtype), hidden[part])
            if of_bias is not None:
                of_bias += of_logits.sum(0)
        return (
            None if of_hidden is None else (of_hidden.float() * scale).to(of_hidden.dtype),
            None if of_weight is None else of_weight.to(weight.dtype),
            None if of_bias is None else of_bias.to(bias.dtype),
            None,
            None,
        )


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, most: int) -> Iterator[tuple[slice, Tensor]]:
    """Logits [k, V] of consecutive positions, at most `most` at a time, and which positions they are."""
    for part in chunks(len(hidden), most):
        states = hidden[part]
        yield part, torch.mm(states, weight.t()) if bias is None else torch.addmm(bias, states, weight.t())


def _gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """[k, V], fp32: of each target's log-probability with respect to its own logits: onehot - softmax; 0 if IGNORED."""
    counts = (targets != IGNORED).float()[:, None]
    found = torch.softmax(logits, -1, dtype=torch.float32).neg_()
    found.scatter_add_(1, targets.where(targets != IGNORED, 0)[:, None], torch.ones_like(counts))
    return found.mul_(counts)
