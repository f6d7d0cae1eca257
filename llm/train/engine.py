"""What the loop asks of whoever owns gradients and the optimizer, and the plain answer: autograd and one optimizer."""

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from llm import distributed
from llm.config.schema import RunConfig
from llm.train.optimizer import MasterOptimizer, ParamGroup, build_optimizer

BUCKET = 32 * 2**20  # elements that are summed at once: 128 MiB beside the gradients


class Engine(Protocol):
    """What stands between the loop and the optimizer. With several processes each method is called by all of them."""

    model: nn.Module  # called with a batch: the summed loss

    def backward(self, loss: Tensor) -> None: ...

    def step(self, factor: float) -> Tensor: ...

    def weights(self, named: dict[str, nn.Parameter]) -> dict[str, Tensor]: ...

    def state(self) -> dict[str, Any]: ...

    def load(self, state: dict[str, Any]) -> None: ...


class TorchEngine:
    """Plain autograd and an optimizer that every process has whole; gradients are summed over all once a step."""

    def __init__(self, model: nn.Module, optimizer: MasterOptimizer, clip: float) -> None:
        self.model, self.optimizer, self.clip = model, optimizer, clip

    def backward(self, loss: Tensor) -> None:
        """Add a pack's gradient. The loss is already divided by the step's targets, those of all processes."""
        torch.autograd.backward(loss)
        self.optimizer.collect()  # packs are summed in fp32, not in the parameters' bf16

    def step(self, factor: float) -> Tensor:
        """Clip, move the weights at `factor` times each group's rate, clear the gradients; returns the norm before.

        A parameter that no pack of the step reached, but an earlier one did, moves as one of gradient 0: as under
        ZeRO, which knows no other.
        A norm that is not finite leaves weights and optimizer untouched, so that the caller can stop and save.
        """
        self._complete_gradients()
        norm = self.optimizer.clip(self.clip)
        if torch.isfinite(norm):  # one host sync a step: the price of stopping before the weights are ruined
            self.optimizer.step(factor)
        self.optimizer.zero_grad()
        return norm

    def _complete_gradients(self) -> None:
        """Every parameter's, summed over all processes: one flat sum for many parameters."""
        self.optimizer.collect()
        alone = distributed.ranks().world == 1
        for _, master in self.optimizer.pairs:
            if master.grad is None and not (alone and master not in self.optimizer.inner.state):
                master.grad = torch.zeros_like(master)  # what nothing ever reached needs none where nobody else may
        if alone:
            return
        for run in _runs([master for _, master in self.optimizer.pairs]):
            parts = [master.grad for master in run if master.grad is not None]
            flat = distributed.all_reduce_sum(torch.cat([part.flatten() for part in parts]))
            for master, part in zip(run, flat.split([master.numel() for master in run]), strict=True):
                master.grad = part.view_as(master)

    def weights(self, named: dict[str, nn.Parameter]) -> dict[str, Tensor]:
        """The parameters, whole."""
        return dict(named)

    def state(self) -> dict[str, Any]:
        """Everything the next step depends on, tensors and plain values."""
        return self.optimizer.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Continue from `state()`, bit for bit."""
        self.optimizer.load_state_dict(state)


def _runs(parameters: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Runs of at most BUCKET elements; a larger parameter stands alone."""
    run: list[nn.Parameter] = []
    size = 0
    for parameter in parameters:
        if run and size + parameter.numel() > BUCKET:
            yield run
            run, size = [], 0
        run.append(parameter)
        size += parameter.numel()
    if run:
        yield run


def build_engine(model: nn.Module, groups: list[ParamGroup], config: RunConfig) -> Engine:
    """The engine of `parallel`. Raises ConfigError where it cannot be had."""
    if not config.parallel.zero:
        return TorchEngine(model, build_optimizer(groups, config.optim), config.optim.clip)
    from llm.train.deepspeed import ZeroEngine

    return ZeroEngine(model, groups, config)
