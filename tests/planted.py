"""A fault for tests: a gradient that is not finite in one parameter, with a finite loss; and what changed after it."""

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

STEP = 2  # the step with the fault: the optimizer has moments by then


class Planted:
    """In place of `build_engine`: in step STEP one element of one gradient of one process is `value`."""

    def __init__(self, value: float, rank: int = 0) -> None:
        self.value, self.rank = value, rank
        self.steps = 0
        self.before: dict[str, Tensor] = {}
        self._engine: Any = None
        self._model: nn.Module | None = None

    def __call__(self, model: nn.Module, groups: list[ParamGroup], config: RunConfig) -> Engine:
        """The run's engine, with a hook on a parameter of the last group."""
        self._engine, self._model = build_engine(model, groups, config), model
        step = self._engine.step

        def counted(factor: float, figures: Sequence[Tensor]) -> list[float]:
            if self.steps == STEP - 1:
                self.before = self._tensors()
            self.steps += 1
            return list(step(factor, figures))

        self._engine.step = counted
        groups[-1].parameters[-1].register_hook(self._with_fault)
        engine: Engine = self._engine
        return engine

    def _with_fault(self, grad: Tensor) -> Tensor:
        if self.steps != STEP - 1 or distributed.ranks().rank != self.rank:
            return grad
        grad = grad.clone()
        grad.view(-1)[0] = self.value
        return grad

    def moved(self) -> list[str]:
        """Names of weights and optimizer tensors that changed in the step with the fault, or after it."""
        assert self.before, "the step with the fault was not reached"
        now = self._tensors()
        return [name for name, tensor in self.before.items() if not torch.equal(now[name], tensor)]

    def _tensors(self) -> dict[str, Tensor]:
        assert self._model is not None
        weights = trainable_weights(self._model, (), self._engine)
        return {name: tensor.detach().clone() for name, tensor in (weights | self._engine.state()).items()}


@contextmanager
def planted(value: float, rank: int = 0) -> Iterator[Planted]:
    """Runs that start inside have the fault."""
    fault = Planted(value, rank)
    own = run.build_engine
    run.build_engine = fault
    try:
        yield fault
    finally:
        run.build_engine = own
