"""The loss of a pack: a sum over its targets in fp32, divided only once all targets of the step are known."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from llm.encoding.encoder import IGNORED


def summed_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of cross-entropies, fp32. `logits` [K, V] of any dtype, `targets` [K]; those of a muted batch count 0."""
    return cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="sum")


def hits(logits: Tensor, targets: Tensor) -> Tensor:
    """Where greedy decoding would have written the target: [K] bool."""
    return torch.eq(logits.argmax(-1), targets)
