"""The optimizer against torch's own, against arithmetic by hand, and against itself resumed."""

import math
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from llm.config.schema import OptimConfig
from llm.errors import CheckpointError, ConfigError
from llm.train.optimizer import MasterOptimizer, ParamGroup, build_optimizer, lr_factor

NAMES = ["adamw", "adamw8bit", "paged_adamw", "paged_adamw8bit"]


@pytest.fixture(autouse=True)
def paged_falls_back() -> Iterator[None]:
    """bitsandbytes warns that a CPU does not page; every other warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="Paged optimizers are not supported on CPU")
        yield


def parameters(dtype: torch.dtype) -> list[nn.Parameter]:
    """A matrix above and one below bitsandbytes' 4,096 elements for 8 bits, and a vector."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((64, 96), (8, 8), (16,))
    return [nn.Parameter(torch.randn(*shape, generator=generator).to(dtype)) for shape in shapes]


def optim(**changes: object) -> OptimConfig:
    return OptimConfig.model_validate({"lr": 1e-2} | changes)


def give_gradients(weights: list[nn.Parameter], step: int) -> None:
    generator = torch.Generator().manual_seed(100 + step)
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=generator).to(weight.dtype)


# The rate's course ----------------------------------------------------------------------------------------------------


def test_warm_up_then_cosine_by_hand() -> None:
    course = [lr_factor(step, 10, optim(warmup=0.2, schedule="cosine")) for step in range(11)]
    root = math.sqrt(2) / 2  # cos(pi / 4)
    assert course[:2] == [0.5, 1.0]
    assert course[2] == 1.0
    assert course[4] == pytest.approx((1 + root) / 2)
    assert course[6] == pytest.approx(0.5)
    assert course[8] == pytest.approx((1 - root) / 2)
    assert 0 < course[9] < 0.04
    assert course[10] == pytest.approx(0.0)


def test_linear_and_constant_by_hand() -> None:
    assert [lr_factor(step, 5, optim(warmup=0.2, schedule="linear")) for step in range(6)] == pytest.approx(
        [1.0, 1.0, 0.75, 0.5, 0.25, 0.0]
    )
    constant = optim(warmup=0.5, schedule="constant")
    assert [lr_factor(step, 4, constant) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]


def test_warm_up_steps_are_rounded_up_but_not_by_float_dust() -> None:
    assert 0.07 * 100 > 7
    course = [lr_factor(step, 100, optim(warmup=0.07, schedule="constant")) for step in range(8)]
    assert course[5] < 1 and course[6] == 1
    assert lr_factor(0, 10, optim(warmup=0.03, schedule="cosine")) == 1  # one step of ten
    assert lr_factor(0, 10, optim(warmup=0.0, schedule="linear")) == 1
    assert lr_factor(0, 1, optim(warmup=0.9)) == 1  # a run of a single step trains


# The step -------------------------------------------------------------------------------------------------------------


def test_fp32_steps_equal_torchs_adamw() -> None:
    ours, theirs = parameters(torch.float32), parameters(torch.float32)
    settings = {"betas": (0.7, 0.9), "eps": 1e-3}
    optimizer = build_optimizer([ParamGroup("llm", ours, 1e-2)], optim(weight_decay=0.1, **settings))
    reference = torch.optim.AdamW(
        [{"params": theirs[:2], "weight_decay": 0.1}, {"params": theirs[2:], "weight_decay": 0.0}], lr=1e-2, **settings
    )
    for step in range(5):
        give_gradients(ours, step)
        give_gradients(theirs, step)
        optimizer.step(1.0)
        reference.step()
        optimizer.zero_grad()
    assert not torch.equal(ours[0], parameters(torch.float32)[0])
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", NAMES[1:])
def test_other_optimizers_are_bitsandbytes_own_with_the_recipes_settings(name: str) -> None:
    from bitsandbytes.optim import AdamW8bit, PagedAdamW, PagedAdamW8bit

    ours, theirs = parameters(torch.float32), parameters(torch.float32)
    settings = {"betas": (0.7, 0.9), "eps": 1e-3}
    optimizer = build_optimizer([ParamGroup("llm", ours, 1e-2)], optim(name=name, weight_decay=0.1, **settings))
    kinds = {"adamw8bit": AdamW8bit, "paged_adamw": PagedAdamW, "paged_adamw8bit": PagedAdamW8bit}
    decayed, plain = {"params": theirs[:2], "weight_decay": 0.1}, {"params": theirs[2:], "weight_decay": 0.0}
    reference = kinds[name]([decayed, plain], lr=1e-2, **settings)
    assert type(optimizer.inner) is kinds[name]
    for step in range(3):
        give_gradients(ours, step)
        give_gradients(theirs, step)
        optimizer.step(1.0)
        reference.step()
    assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))
    assert (ours[2] - parameters(torch.float32)[2]).abs().max() > 0.01


def test_each_group_keeps_its_rate_under_the_common_factor() -> None:
    """AdamW's first step moves every weight by its rate."""
    first, second = (nn.Parameter(torch.ones(4, 4)) for _ in range(2))
    optimizer = build_optimizer([ParamGroup("llm", [first], 1e-2), ParamGroup("projector", [second], 1e-3)], optim())
    for weight in (first, second):
        weight.grad = torch.ones(4, 4)
    optimizer.step(0.5)
    torch.testing.assert_close(first.detach(), torch.full((4, 4), 1 - 5e-3))
    torch.testing.assert_close(second.detach(), torch.full((4, 4), 1 - 5e-4))


def test_updates_too_small_for_bf16_add_up_in_the_master() -> None:
    """1,000 updates of a millionth each: bf16 alone, whose next number below 1 is 1 - 2^-8, would not move at all."""
    weight = nn.Parameter(torch.ones(2, 2, dtype=torch.bfloat16))
    alone = torch.ones(2, 2, dtype=torch.bfloat16)
    optimizer = build_optimizer([ParamGroup("llm", [weight], 1e-6)], optim())
    seen: list[float] = []
    for _ in range(2500):
        weight.grad = torch.ones_like(weight)
        optimizer.step(1.0)
        optimizer.zero_grad()
        alone -= 1e-6
        seen.append(float(weight.detach()[0, 0]))
    master = optimizer.masters[0][0]
    assert torch.equal(alone, torch.ones_like(alone))
    torch.testing.assert_close(master.detach(), torch.full((2, 2), 1 - 2500e-6), rtol=1e-4, atol=0)
    assert seen[999] == 1.0 and seen[-1] == 1 - 2**-8
    assert seen.index(1 - 2**-8) == pytest.approx(2**-9 / 1e-6, abs=50)  # where rounding turns


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
def test_low_precision_weights_are_the_masters_rounded(name: str, dtype: torch.dtype) -> None:
    low = parameters(dtype)
    full = [nn.Parameter(weight.detach().float()) for weight in low]
    optimizer = build_optimizer([ParamGroup("llm", low, 1e-2)], optim(name=name))
    reference = build_optimizer([ParamGroup("llm", full, 1e-2)], optim(name=name))
    for step in range(3):
        give_gradients(low, step)
        for weight, copy in zip(low, full, strict=True):
            assert weight.grad is not None
            copy.grad = weight.grad.float()
        optimizer.step(1.0)
        reference.step(1.0)
        optimizer.zero_grad()
    assert not torch.equal(low[0], parameters(dtype)[0])
    for weight, copy in zip(low, full, strict=True):
        assert weight.dtype == dtype and torch.equal(weight, copy.to(dtype))


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_descends_on_a_cpu(name: str) -> None:
    weight = nn.Parameter(torch.zeros(80, 80))
    goal = torch.linspace(-1, 1, 6400).reshape(80, 80)
    optimizer = build_optimizer([ParamGroup("llm", [weight], 0.02)], optim(name=name))
    before = float(goal.pow(2).mean())
    for _ in range(60):
        (weight - goal).pow(2).mean().backward()
        optimizer.step(1.0)
        optimizer.zero_grad()
    assert float((weight.detach() - goal).pow(2).mean()) < 0.05 * before
    eight_bit = optimizer.inner.state[weight].get("state1", weight).dtype == torch.uint8
    assert eight_bit == name.endswith("8bit")


# Gradients ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_clip_bounds_the_norm_over_all_groups(dtype: torch.dtype) -> None:
    first, second = nn.Parameter(torch.zeros(1, 2, dtype=dtype)), nn.Parameter(torch.zeros(2, dtype=dtype))
    optimizer = build_optimizer([ParamGroup("a", [first], 1.0), ParamGroup("b", [second], 1.0)], optim())
    first.grad = torch.tensor([[3.0, 0.0]], dtype=dtype)
    second.grad = torch.tensor([0.0, 4.0], dtype=dtype)
    norm = optimizer.clip(1.0)
    assert norm.dtype == torch.float32 and norm.shape == () and float(norm) == 5.0
    grads = [master.grad for masters in optimizer.masters for master in masters]
    torch.testing.assert_close(grads[0], torch.tensor([[0.6, 0.0]]))
    torch.testing.assert_close(grads[1], torch.tensor([0.0, 0.8]))
    assert float(optimizer.clip(0.0)) == pytest.approx(1.0)
    assert float(optimizer.clip(10.0)) == pytest.approx(1.0)  # a bound above the norm changes nothing
    torch.testing.assert_close(grads[0], torch.tensor([[0.6, 0.0]]))


def test_clip_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = parameters(torch.bfloat16)
    optimizer = build_optimizer([ParamGroup("llm", weights, 1e-2)], optim())
    give_gradients(weights, 0)
    for reader in ("item", "tolist", "__bool__", "__float__"):
        monkeypatch.setattr(Tensor, reader, lambda *_: pytest.fail("a host sync in clip()"))
    optimizer.clip(1.0)


def test_packs_collected_one_by_one_are_summed_in_fp32() -> None:
    """256 + 1 is 256 in bf16: adding packs in the weight's own dtype loses the small ones."""
    weight = nn.Parameter(torch.zeros(2, 2, dtype=torch.bfloat16))
    optimizer = build_optimizer([ParamGroup("llm", [weight], 1e-2)], optim())
    for value in (256.0, 1.0, 1.0, 1.0):
        weight.grad = torch.full((2, 2), value, dtype=torch.bfloat16)
        optimizer.collect()
        assert weight.grad is None
    assert float(optimizer.clip(0)) == 2 * 259.0
    assert float(torch.tensor(256.0).bfloat16() + 1) == 256.0


def test_zero_grad_forgets_both_copies() -> None:
    weights = parameters(torch.bfloat16)
    optimizer = build_optimizer([ParamGroup("llm", weights, 1e-2)], optim())
    give_gradients(weights, 0)
    optimizer.collect()
    give_gradients(weights, 1)
    optimizer.zero_grad()
    assert all(weight.grad is None for weight in weights)
    assert all(master.grad is None for master in optimizer.masters[0])


def test_a_weight_without_a_gradient_stays() -> None:
    weights = parameters(torch.bfloat16)
    optimizer = build_optimizer([ParamGroup("llm", weights, 1e-2)], optim(weight_decay=0.1))
    give_gradients(weights[:1], 0)
    optimizer.clip(1.0)
    optimizer.step(1.0)
    fresh = parameters(torch.bfloat16)
    assert not torch.equal(weights[0], fresh[0])
    assert torch.equal(weights[1], fresh[1]) and torch.equal(weights[2], fresh[2])


# Resume ---------------------------------------------------------------------------------------------------------------


def run(optimizer: MasterOptimizer, weights: list[nn.Parameter], steps: range) -> None:
    for step in steps:
        give_gradients(weights, step)
        optimizer.clip(1.0)
        optimizer.step(lr_factor(step, 8, optim()))
        optimizer.zero_grad()


def two_groups(weights: list[nn.Parameter]) -> list[ParamGroup]:
    return [ParamGroup("llm", weights[:2], 1e-2), ParamGroup("projector", weights[2:], 1e-3)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_resume_equals_the_uninterrupted_run_bit_for_bit(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    config = optim(name=name, weight_decay=0.01)
    uninterrupted = parameters(dtype)
    one_go = build_optimizer(two_groups(uninterrupted), config)
    run(one_go, uninterrupted, range(8))

    before = parameters(dtype)
    first = build_optimizer(two_groups(before), config)
    run(first, before, range(4))
    state = {key: value.clone() for key, value in first.state_dict().items()}
    save_file(state, tmp_path / "state.safetensors")

    after = [nn.Parameter(weight.detach().clone()) for weight in before]
    second = build_optimizer(two_groups(after), config)
    second.load_state_dict(load_file(tmp_path / "state.safetensors"))
    run(second, after, range(4, 8))
    for mine, other in zip(after, uninterrupted, strict=True):
        assert torch.equal(mine, other)
    ending, resumed = one_go.state_dict(), second.state_dict()
    assert ending.keys() == resumed.keys() and any(key.endswith("master") for key in ending) == (dtype != torch.float32)
    assert all(torch.equal(ending[key], resumed[key]) and ending[key].dtype == resumed[key].dtype for key in ending)


def test_without_masters_a_resume_would_differ() -> None:
    """Rounded weights are not enough: what the test above proves is not proved by chance."""
    weights = parameters(torch.bfloat16)
    optimizer = build_optimizer(two_groups(weights), optim())
    run(optimizer, weights, range(4))
    master, weight = optimizer.masters[0][0], weights[0]
    assert not torch.equal(master.detach(), weight.detach().float())


def test_state_of_other_parameters_is_refused() -> None:
    weights = parameters(torch.bfloat16)
    optimizer = build_optimizer(two_groups(weights), optim())
    run(optimizer, weights, range(1))
    state = optimizer.state_dict()
    with pytest.raises(CheckpointError, match="tower"):
        optimizer.load_state_dict(state | {"tower.0.master": torch.zeros(2)})
    with pytest.raises(CheckpointError, match=r"llm\.0: found .*'master': \(2,\)"):
        optimizer.load_state_dict(state | {"llm.0.master": torch.zeros(2)})
    with pytest.raises(CheckpointError, match=r"llm\.1: found {'exp_avg': \(2,\)"):
        optimizer.load_state_dict(state | {"llm.1.exp_avg": torch.zeros(2)})
    with pytest.raises(CheckpointError, match=r"AdamW8bit.*optim\.name"):
        build_optimizer(two_groups(parameters(torch.bfloat16)), optim(name="adamw8bit")).load_state_dict(state)


# User mistakes --------------------------------------------------------------------------------------------------------


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim.adamw", None)
    with pytest.raises(ConfigError, match=r"adamw8bit.*eyegraft\[quant\]"):
        build_optimizer([ParamGroup("llm", parameters(torch.float32), 1e-2)], optim(name="adamw8bit"))


def test_nothing_to_train_is_said() -> None:
    with pytest.raises(ConfigError, match="nothing trains"):
        build_optimizer([ParamGroup("llm", [], 1e-2)], optim())
