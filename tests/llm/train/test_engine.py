"""The engine of plain autograd: what becomes of gradients of several packs and processes, and when weights move."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from llm.config.schema import OptimConfig
from llm.train import engine as module
from llm.train.deepspeed import ZeroEngine
from llm.train.engine import TorchEngine, _runs
from llm.train.optimizer import ParamGroup, build_optimizer

# One step of AdamW without decay moves a weight by its rate against the sign of its gradient, whatever the size.
LR = 0.25
OPTIM = OptimConfig(lr=LR, betas=(0.9, 0.999), eps=1e-12)


class Two(nn.Module):
    """Two weights of one element, 1 and 2; the loss of a pack (a, b) is a x + b y."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor([1.0], dtype=dtype))
        self.y = nn.Parameter(torch.tensor([2.0], dtype=dtype))

    def forward(self, pack: tuple[float, float]) -> Tensor:
        parts = [factor * weight for factor, weight in zip(pack, (self.x, self.y), strict=True) if factor]
        return torch.cat(parts).sum()

    @property
    def values(self) -> list[float]:
        return [float(self.x), float(self.y)]


def engine_of(model: Two, clip: float = 0.0) -> TorchEngine:
    return TorchEngine(model, build_optimizer([ParamGroup("both", [model.x, model.y], LR)], OPTIM), clip)


def gradients(engine: TorchEngine) -> list[float | None]:
    return [None if master.grad is None else float(master.grad) for _, master in engine.optimizer.pairs]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_of_packs_are_added_and_cleared_after_the_step(dtype: torch.dtype) -> None:
    model = Two(dtype)
    engine = engine_of(model)
    engine.backward(model((3.0, -1.0)))
    engine.backward(model((0.0, -3.0)))
    assert gradients(engine) == [3.0, -4.0]
    assert engine.step(0.5) == [5.0], "the norm of (3, -4)"
    assert model.values == [1 - 0.5 * LR, 2 + 0.5 * LR]
    assert gradients(engine) == [None, None] and model.x.grad is None


def test_the_norm_is_the_one_before_clipping() -> None:
    """Clipped to 1 a gradient of (30, -40) is (0.6, -0.8); the moments show what the optimizer was given."""
    model = Two()
    engine = engine_of(model, clip=1.0)
    engine.backward(model((30.0, -40.0)))
    assert engine.step(1.0) == [50.0]
    moments = [float(engine.optimizer.inner.state[weight]["exp_avg"]) for weight in (model.x, model.y)]
    assert moments == pytest.approx([0.1 * 0.6, 0.1 * -0.8], rel=1e-5)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_norm_that_is_not_finite_moves_nothing(value: float) -> None:
    model = Two()
    engine = engine_of(model, clip=1.0)
    engine.backward(model((1.0, 1.0)))
    engine.step(1.0)
    before, state = model.values, {name: tensor.clone() for name, tensor in engine.state().items()}
    engine.backward(model((value, 1.0)))
    assert not math.isfinite(engine.step(1.0)[0])
    assert model.values == before and gradients(engine) == [None, None]
    assert all(torch.equal(tensor, state[name]) for name, tensor in engine.state().items())


def test_a_weight_that_no_pack_reached_stays_until_one_did_and_then_moves_on() -> None:
    """As a gradient of 0 moves it: by its first moment, which fades."""
    model = Two()
    engine = engine_of(model)
    engine.backward(model((1.0, 0.0)))
    engine.step(1.0)
    assert model.values == [1 - LR, 2.0] and model.y not in engine.optimizer.inner.state
    engine.backward(model((0.0, 1.0)))
    engine.step(1.0)
    # First moment 0.9 * 0.1 / (1 - 0.9^2), second 0.999 * 0.001 / (1 - 0.999^2), of a gradient of 1 and one of 0.
    moved = (0.09 / 0.19) / math.sqrt(0.000999 / 0.001999)
    assert model.values == pytest.approx([1 - LR - LR * moved, 2 - LR], rel=1e-5)


def test_gradients_of_all_processes_are_summed_also_where_one_reached_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process adds 10 to every element; each parameter comes back in its own shape."""
    monkeypatch.setattr(module.distributed, "ranks", lambda: SimpleNamespace(world=2))
    monkeypatch.setattr(module.distributed, "all_reduce_sum", lambda flat: flat + 10)
    model = Two()
    engine = engine_of(model)
    engine.backward(model((2.0, 0.0)))
    assert engine.step(1.0) == [pytest.approx(math.hypot(12.0, 10.0))]
    assert model.values == [1 - LR, 2 - LR]


def test_each_parameter_gets_its_own_part_of_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.distributed, "ranks", lambda: SimpleNamespace(world=2))
    monkeypatch.setattr(module.distributed, "all_reduce_sum", lambda flat: flat * torch.arange(1, 1 + len(flat)))
    weights = [nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(3))]
    engine = TorchEngine(nn.Module(), build_optimizer([ParamGroup("g", weights, LR)], OPTIM), 0.0)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    engine._complete_gradients()
    assert weights[0].grad is not None and weights[0].grad.tolist() == [[1, 2], [3, 4]]
    assert weights[1].grad is not None and weights[1].grad.tolist() == [5, 6, 7]


def test_runs_are_as_long_as_the_bucket_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUCKET", 10)
    parameters = [nn.Parameter(torch.zeros(size)) for size in (4, 6, 1, 20, 3, 3)]
    assert [[part.numel() for part in run] for run in _runs(parameters)] == [[4, 6], [1], [20], [3, 3]]
    assert list(_runs([])) == []


def test_128_mib_are_summed_at_once() -> None:
    """The memory that docs/benchmarks/parallel.md counts beside the gradients, in fp32."""
    assert 4 * module.BUCKET == 128 * 2**20


def test_weights_are_given_as_they_are() -> None:
    model = Two()
    assert engine_of(model).weights({"x": model.x}) == {"x": model.x}


@pytest.mark.parametrize("figure", [math.nan, math.inf])
def test_zero_steps_for_finite_figures_alone(figure: float) -> None:
    """A loss that is not finite, with a gradient that is, would move the weights: DeepSpeed looks at the norm only."""
    steps: list[float] = []
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.0}], overflow=False)
    library = SimpleNamespace(
        optimizer=optimizer,
        step=lambda: steps.append(optimizer.param_groups[0]["lr"]),
        get_global_grad_norm=lambda: 3.0,
    )
    engine = SimpleNamespace(_engine=library, rates=(0.5,))
    assert ZeroEngine.step(engine, 0.1, [torch.tensor(2.0)]) == [2.0, 3.0] and steps == [0.05]
    read = ZeroEngine.step(engine, 0.1, [torch.tensor(figure)])
    assert not math.isfinite(read[0]) and read[1] == math.inf and steps == [0.05]
