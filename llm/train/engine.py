"""The engine owns gradients and optimizer: autograd and one optimizer here, ZeRO in `llm.train.deepspeed`."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from llm import distributed
from llm.config.schema import RunConfig
from llm.train.optimizer import MasterOptimizer, ParamGroup, build_optimizer

BUCKET = 32 * 2**20  # elements that are summed at once: 128 MiB beside the gradients


class Engine(Protocol):
    """Gradients, optimizer and their state. With several processes every method is a collective."""

    model: nn.Module  # batch -> summed loss

    def backward(self, loss: Tensor) -> None:
        """Add a pack's gradient. The loss is already divided by the step's targets over all processes."""
        ...

    def step(self, factor: float, figures: Sequence[Tensor] = ()) -> list[float]:
        """Clip, move the weights at `factor` times each group's rate, clear the gradients.

        Returns the scalars `figures` and, last, the gradient norm before clipping, copied to the host together. Where
        one of them is not finite, weights and optimizer are left as they are.
        """
        ...

    def weights(self, named: dict[str, nn.Parameter]) -> dict[str, Tensor]:
        """The full parameters."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything the next step depends on besides the parameters."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        ...


class TorchEngine:
    """Autograd and an optimizer that every process holds in full; gradients are all-reduced once a step."""

    def __init__(self, model: nn.Module, optimizer: MasterOptimizer, clip: float) -> None:
        self.model, self.optimizer, self.clip = model, optimizer, clip

    def backward(self, loss: Tensor) -> None:
        """Add a pack's gradient, in fp32."""
        torch.autograd.backward(loss)
        self.optimizer.collect()  # packs are summed in fp32, not in the parameters' bf16

    def step(self, factor: float, figures: Sequence[Tensor] = ()) -> list[float]:
        """As `Engine.step`. The copy to the host is the one sync of a step: it stops before the weights are ruined.

        A parameter without a gradient in this step, but with one in an earlier step, moves as one of gradient 0, as
        under ZeRO.
        """
        self._complete_gradients()
        norm = self.optimizer.clip(self.clip)
        read: list[float] = torch.stack([*figures, norm]).tolist()
        if all(map(math.isfinite, read)):
            self.optimizer.step(factor)
        self.optimizer.zero_grad()
        return read

    def _complete_gradients(self) -> None:
        """Sum every parameter's gradient over all processes, many parameters in one flat all-reduce."""
        self.optimizer.collect()
        alone = distributed.ranks().world == 1
        for _, master in self.optimizer.pairs:
            if master.grad is None and not (alone and master not in self.optimizer.inner.state):
                # A parameter that received no gradient so far needs none, unless another process may have one.
                master.grad = torch.zeros_like(master)
        if alone:
            return
        for run in _runs([master for _, master in self.optimizer.pairs]):
            parts = [master.grad for master in run if master.grad is not None]
            flat = distributed.all_reduce_sum(torch.cat([part.flatten() for part in parts]))
            for master, part in zip(run, flat.split([master.numel() for master in run]), strict=True):
                master.grad = part.view_as(master)

    def weights(self, named: dict[str, nn.Parameter]) -> dict[str, Tensor]:
        """The parameters."""
        return dict(named)

    def state(self) -> dict[str, Any]:
        """The optimizer's state, with fp32 masters."""
        return self.optimizer.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Continue from `state()`, bit for bit."""
        self.optimizer.load_state_dict(state)


def _runs(parameters: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Consecutive parameters of at most BUCKET elements together; a larger one by itself."""
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
    """The engine that `parallel` asks for. Raises ConfigError where DeepSpeed or bitsandbytes is missing."""
    if not config.parallel.zero:
        return TorchEngine(model, build_optimizer(groups, config.optim), config.optim.clip)
    from llm.train.deepspeed import ZeroEngine

    return ZeroEngine(model, groups, config)
