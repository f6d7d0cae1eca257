"""AdamW in four forms over parameter groups with their own learning rates, fp32 master weights, and the schedule."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from llm.config.schema import OptimConfig
from llm.errors import CheckpointError, ConfigError

LOW_PRECISION = (torch.bfloat16, torch.float16)
MakeOptimizer = Callable[[list[dict[str, Any]], OptimConfig], torch.optim.Optimizer]
CONSTANTS = ("qmap1", "qmap2")  # bitsandbytes' quantisation tables: the same for every parameter and run


@dataclass(frozen=True, slots=True)
class ParamGroup:
    """Parameters that share a learning rate; `name` is what logs and checkpoints call them."""

    name: str
    parameters: list[nn.Parameter]
    lr: float


def lr_factor(step: int, total: int, optim: OptimConfig) -> float:
    """The learning rate schedule: the factor of every group's rate in step `step` (from 0) of `total`.

    Linear warmup over the first ceil(warmup * total) steps, the last of which has the full rate; then, by
    `optim.schedule`, constant, or a cosine or linear decay that would reach 0 in step `total`.
    """
    warm = math.ceil(round(optim.warmup * total, 6))  # 0.07 * 100 is slightly more than 7
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, total - warm)
    return DECAYS[optim.schedule](done)


DECAYS: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "linear": lambda done: 1 - done,
    "constant": lambda done: 1.0,
}


def build_optimizer(groups: list[ParamGroup], optim: OptimConfig) -> "MasterOptimizer":
    """The optimizer of a run in one process. Raises ConfigError when its package is missing or nothing trains."""
    if not any(group.parameters for group in groups):
        raise ConfigError("tune: nothing trains. Choose full, lora or qlora, or a stage that trains the projector.")
    return MasterOptimizer(groups, optim)


class _Bitsandbytes(Protocol):
    """bitsandbytes' optimizers, whose methods are not annotated."""

    state: dict[nn.Parameter, dict[str, Any]]

    def init_state(self, group: dict[str, Any], parameter: nn.Parameter, number: int, index: int) -> None: ...


class MasterOptimizer:
    """An optimizer over fp32 master copies of bf16 and fp16 parameters, which are then written back rounded.

    bf16 has 8 bits of precision: an update below 2^-9 of a weight is lost when it is added to the weight itself, and
    accumulates in a master. fp32 parameters are their own masters. Gradients are read from the parameters; `clip` or
    `step` moves them to the masters, where norm and clipping are computed in fp32.
    """

    def __init__(self, groups: list[ParamGroup], optim: OptimConfig, make: MakeOptimizer | None = None) -> None:
        """`make` builds the inner optimizer from torch's parameter groups; `base_optimizer` when it is None."""
        self.groups = [group for group in groups if group.parameters]
        self.masters = [[master_of(parameter) for parameter in group.parameters] for group in self.groups]
        self.pairs = [
            (parameter, master)
            for group, masters in zip(self.groups, self.masters, strict=True)
            for parameter, master in zip(group.parameters, masters, strict=True)
        ]
        low = [(parameter, master) for parameter, master in self.pairs if master is not parameter]
        self.low_parameters: list[Tensor] = [parameter for parameter, _ in low]
        self.low_masters: list[Tensor] = [master for _, master in low]
        rates = [group.lr for group in self.groups]
        self.inner = (make or base_optimizer)(torch_groups(self.masters, rates, optim.weight_decay), optim)
        self.rates = [group["lr"] for group in self.inner.param_groups]

    @torch.no_grad()
    def collect(self) -> None:
        """Add gradients of low-precision parameters to those of their masters, in fp32, and clear them.

        Called after each backward pass of a step, it accumulates gradients in fp32 rather than in bf16.
        """
        fresh = [pair for pair in zip(self.low_parameters, self.low_masters, strict=True) if pair[0].grad is not None]
        for parameter, master in fresh:
            grad = parameter.grad
            assert grad is not None
            master.grad = grad.float() if master.grad is None else master.grad.add_(grad)
            parameter.grad = None

    @torch.no_grad()
    def clip(self, max_norm: float) -> Tensor:
        """Scale all gradients down to a common norm of `max_norm` (0: leave them); returns the norm before.

        A 0-dim fp32 tensor on the gradients' device, without a host sync.
        """
        self.collect()
        grads = [master.grad for _, master in self.pairs if master.grad is not None]
        assert grads, "clip() before backward()"
        norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        if max_norm > 0:
            scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(grads, scale)
        return norm

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Step the inner optimizer at `factor` times each group's rate, and write the masters to the parameters."""
        self.collect()
        for group, rate in zip(self.inner.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.inner.step()
        self._write_back()

    def zero_grad(self) -> None:
        """Clear all gradients."""
        for parameter, master in self.pairs:
            parameter.grad = None
            master.grad = None

    def state_dict(self) -> dict[str, Tensor]:
        """Everything the next step depends on besides the parameters, as a flat dict of tensors.

        Names are `<group>.<index in the group>.<what>`; `what` is `master` or a key of the inner optimizer's state.
        """
        state: dict[str, Tensor] = {}
        for name, parameter, master in self._named():
            if master is not parameter:
                state[f"{name}.master"] = master.detach()
            for key, value in self.inner.state[master].items():
                if key not in CONSTANTS:
                    state[f"{name}.{key}"] = value if isinstance(value, Tensor) else torch.tensor(value)
        return state

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict()`, bit for bit. Raises CheckpointError when it is of other parameters."""
        known: dict[str, dict[str, Tensor]] = {name: {} for name, _, _ in self._named()}
        for key, tensor in state.items():
            name, _, what = key.rpartition(".")
            if name not in known:
                raise CheckpointError(f"optimizer state {key} has no parameter in this run. Was the recipe changed?")
            known[name][what] = tensor
        for name, parameter, master in self._named():
            self._restore(name, parameter, master, known[name])
        self._write_back()

    def _restore(self, name: str, parameter: nn.Parameter, master: nn.Parameter, saved: dict[str, Tensor]) -> None:
        """Restore one parameter's tensors. Raises CheckpointError unless their names and shapes fit this optimizer."""
        self.inner.state.pop(master, None)
        entry = {} if saved.keys() <= {"master"} else self._fresh_state(master)  # no step yet: no state
        own = {key: value for key, value in entry.items() if key not in CONSTANTS}
        if master is not parameter:
            own["master"] = master
        expected, found = shapes(own), shapes(saved)
        if expected != found:
            raise CheckpointError(
                f"optimizer state of {name}: found {found}, this run's optimizer ({type(self.inner).__name__}) has "
                f"{expected}. Was optim.name or the model changed?"
            )
        for key, value in own.items():
            if isinstance(value, Tensor):
                value.copy_(saved[key])
        if entry:
            self.inner.state[master] = entry | {"step": like(entry["step"], saved["step"])}

    def _fresh_state(self, master: nn.Parameter) -> dict[str, Any]:
        """One parameter's state in the inner optimizer before its first step."""
        if isinstance(self.inner, torch.optim.AdamW):
            step = torch.zeros((), device=master.device)
            return {"step": step, "exp_avg": torch.zeros_like(master), "exp_avg_sq": torch.zeros_like(master)}
        # bitsandbytes makes its own buffers, so that paged ones are paged again.
        inner = cast(_Bitsandbytes, self.inner)
        group, number, index = next(place for place in places(self.inner) if place[0]["params"][place[2]] is master)
        inner.init_state(group, master, number, index)
        return inner.state[master]

    def _named(self) -> list[tuple[str, nn.Parameter, nn.Parameter]]:
        """(name, parameter, master) of every parameter, in order."""
        return [
            (f"{group.name}.{index}", parameter, master)
            for group, masters in zip(self.groups, self.masters, strict=True)
            for index, (parameter, master) in enumerate(zip(group.parameters, masters, strict=True))
        ]

    def _write_back(self) -> None:
        if self.low_masters:
            torch._foreach_copy_(self.low_parameters, self.low_masters)


def master_of(parameter: nn.Parameter) -> nn.Parameter:
    """An fp32 copy of a low-precision parameter; any other is its own master."""
    if parameter.dtype not in LOW_PRECISION:
        return parameter
    return nn.Parameter(parameter.detach().float())


def torch_groups(masters: list[list[nn.Parameter]], rates: list[float], decay: float) -> list[dict[str, Any]]:
    """Parameter groups as torch takes them. No weight decay on vectors: a norm scale of 0 would silence its layer."""
    groups: list[dict[str, Any]] = []
    for parameters, lr in zip(masters, rates, strict=True):
        matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
        vectors = [parameter for parameter in parameters if parameter.ndim < 2]
        groups += [{"params": part, "lr": lr, "weight_decay": wd} for part, wd in ((matrices, decay), (vectors, 0.0))]
    return [group for group in groups if group["params"]]


def base_optimizer(groups: list[dict[str, Any]], optim: OptimConfig) -> torch.optim.Optimizer:
    """AdamW as `optim.name` says, without masters. Raises ConfigError where bitsandbytes is missing."""
    settings: dict[str, Any] = {"betas": optim.betas, "eps": optim.eps}
    if optim.name == "adamw":
        return torch.optim.AdamW(groups, fused=True, **settings)
    try:
        from bitsandbytes.optim.adamw import AdamW8bit, PagedAdamW, PagedAdamW8bit
    except ImportError as cause:
        raise ConfigError(f"optim.name: {optim.name} needs bitsandbytes: pip install 'eyegraft[quant]'") from cause
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adamw8bit": AdamW8bit,
        "paged_adamw": PagedAdamW,
        "paged_adamw8bit": PagedAdamW8bit,
    }
    return kinds[optim.name](groups, **settings)


def places(optimizer: torch.optim.Optimizer) -> Iterator[tuple[dict[str, Any], int, int]]:
    """(group, number of the group, number in the group) of every parameter of an optimizer."""
    for number, group in enumerate(optimizer.param_groups):
        for index in range(len(group["params"])):
            yield group, number, index


def shapes(state: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shape by name, sorted; a plain number is 0-dim."""
    return {key: tuple(torch.as_tensor(state[key]).shape) for key in sorted(state)}


def like(own: Tensor | int, saved: Tensor) -> Tensor | int:
    """A saved step count in the type of the optimizer's own: torch counts in a tensor, bitsandbytes in an int."""
    return saved.to(own.device, copy=True) if isinstance(own, Tensor) else int(saved)
