"""What the loop asks of whoever owns gradients and the optimizer. One process for now: CPU or one GPU."""

from typing import Any, Protocol

import torch
from torch import Tensor

from llm.optim import MasterOptimizer


class Engine(Protocol):
    """Four methods between the loop and the optimizer."""

    def backward(self, loss: Tensor) -> None: ...

    def step(self, factor: float) -> Tensor: ...

    def state(self) -> dict[str, Any]: ...

    def load(self, state: dict[str, Any]) -> None: ...


class TorchEngine:
    """Plain autograd and one optimizer."""

    def __init__(self, optimizer: MasterOptimizer, clip: float) -> None:
        self.optimizer, self.clip = optimizer, clip

    def backward(self, loss: Tensor) -> None:
        """Add a pack's gradient. The loss is already divided by the step's targets."""
        torch.autograd.backward(loss)
        self.optimizer.collect()  # packs are summed in fp32, not in the parameters' bf16

    def step(self, factor: float) -> Tensor:
        """Clip, move the weights at `factor` times each group's rate, clear the gradients; returns the norm before.

        A norm that is not finite leaves weights and optimizer untouched, so that the caller can stop and save.
        """
        norm = self.optimizer.clip(self.clip)
        if torch.isfinite(norm):  # one host sync a step: the price of stopping before the weights are ruined
            self.optimizer.step(factor)
        self.optimizer.zero_grad()
        return norm

    def state(self) -> dict[str, Any]:
        """Everything the next step depends on, tensors and plain values."""
        return self.optimizer.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Continue from `state()`, bit for bit."""
        self.optimizer.load_state_dict(state)
