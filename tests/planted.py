"""A gradient that is not finite, planted into one parameter while the loss stays finite; and what moved after it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from llm import distributed
from llm.config.schema import RunConfig
from llm.train import run
from llm.train.engine import Engine, build_engine
from llm.train.optimizer import ParamGroup
from llm.train.run import trainable_weights

STEP = 2  # the step whose gradient is spoilt: by then the optimizer has moments


class Planted:
    """In the place of `build_engine`: from the second step on, one value of one gradient of one process is `value`."""

    def __init__(self, value: float, rank: int = 0) -> None:
        self.value, self.rank = value, rank
        self.steps = 0
        self.before: dict[str, Tensor] = {}
        self._engine: Any = None
        self._model: nn.Module | None = None

    def __call__(self, model: nn.Module, groups: list[ParamGroup], config: RunConfig) -> Engine:
        """The run's own engine, with a hook in a parameter of its last group."""
        self._engine, self._model = build_engine(model, groups, config), model
        step = self._engine.step

        def counted(factor: float, figures: Sequence[Tensor]) -> list[float]:
            if self.steps == STEP - 1:
                self.before = self._held()
            self.steps += 1
            return list(step(factor, figures))

        self._engine.step = counted
        groups[-1].parameters[-1].register_hook(self._spoilt)
        engine: Engine = self._engine
        return engine

    def _spoilt(self, grad: Tensor) -> Tensor:
        if self.steps != STEP - 1 or distributed.ranks().rank != self.rank:
            return grad
        grad = grad.clone()
        grad.view(-1)[0] = self.value
        return grad

    def moved(self) -> list[str]:
        """Names of weights and optimizer tensors that are no longer what they were before the spoilt step."""
        assert self.before, "the spoilt step was never reached"
        now = self._held()
        return [name for name, tensor in self.before.items() if not torch.equal(now[name], tensor)]

    def _held(self) -> dict[str, Tensor]:
        assert self._model is not None
        weights = trainable_weights(self._model, (), self._engine)
        return {name: tensor.detach().clone() for name, tensor in (weights | self._engine.state()).items()}


@contextmanager
def planted(value: float, rank: int = 0) -> Iterator[Planted]:
    """Runs that begin inside are spoilt."""
    spoiler = Planted(value, rank)
    own = run.build_engine
    run.build_engine = spoiler
    try:
        yield spoiler
    finally:
        run.build_engine = own
