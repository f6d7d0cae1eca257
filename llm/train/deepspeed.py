"""The engine over DeepSpeed's ZeRO. DeepSpeed's config is derived from the recipe and logged.

A checkpoint holds full tensors under the names of a run without DeepSpeed, so a run can continue under every stage and
with any number of processes. DeepSpeed's own checkpoints, which are pickles, are neither written nor read.
"""

import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from llm import distributed
from llm.config.schema import RunConfig
from llm.devices import accelerator, on_cpu
from llm.errors import CheckpointError, ConfigError
from llm.log import logger
from llm.model.precision import dtype_of
from llm.train.optimizer import LOW_PRECISION, ParamGroup, base_optimizer, torch_groups

MOMENTS = ("exp_avg", "exp_avg_sq")


class _Partitioned(Protocol):
    """A parameter that ZeRO-3 partitioned."""

    ds_shape: torch.Size


def deepspeed_settings(config: RunConfig) -> dict[str, Any]:
    """DeepSpeed's config for a recipe. Packing, learning rates and gradient accumulation are not left to DeepSpeed."""
    parallel = config.parallel
    zero: dict[str, Any] = {"stage": parallel.zero, "overlap_comm": False, "contiguous_gradients": True}
    if parallel.offload != "none":
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": accelerator().pins_memory}
    if parallel.offload == "all":
        zero["offload_param"] = {"device": "cpu", "pin_memory": accelerator().pins_memory}
    settings: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,  # one pack
        "gradient_accumulation_steps": 1,  # the number of packs differs from step to step
        "managed_gradient_accumulation": False,
        "gradient_clipping": config.optim.clip,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,  # torch's fused AdamW is a CPU kernel as well
        "steps_per_print": 2**62,
    }
    if dtype_of(config) == torch.bfloat16:
        settings["bf16"] = {"enabled": True, "check_grad_overflow": True}
        settings["data_types"] = {"grad_accum_dtype": "fp32"}
    return settings


class ZeroEngine:
    """A model whose optimizer states, gradients or weights are partitioned among the processes."""

    def __init__(self, model: nn.Module, groups: list[ParamGroup], config: RunConfig) -> None:
        if config.optim.name != "adamw":
            raise ConfigError(
                f"optim.name: {config.optim.name} under parallel.zero: {config.parallel.zero}: ZeRO partitions the "
                "optimizer and cannot partition 8-bit blocks. Use adamw, whose states are partitioned, or zero: 0"
            )
        settings = deepspeed_settings(config)
        logger.info(f"deepspeed: {json.dumps(settings)}")
        self.groups = [group for group in groups if group.parameters]
        parameters = [group.parameters for group in self.groups]
        rates = [group.lr for group in self.groups]
        optimizer = base_optimizer(torch_groups(parameters, rates, config.optim.weight_decay), config.optim)
        self._engine = _initialize(model, optimizer, settings)
        self.model: nn.Module = self._engine
        self.stage = config.parallel.zero
        self.rates = [group["lr"] for group in self._engine.optimizer.param_groups]

    def backward(self, loss: Tensor) -> None:
        """Add a pack's gradient. DeepSpeed averages over the processes; ours is a sum."""
        self._engine.backward(loss * distributed.ranks().world, scale_wrt_gas=False)

    def step(self, factor: float, figures: Sequence[Tensor] = ()) -> list[float]:
        """As `Engine.step`. DeepSpeed syncs with the host itself, and finds an infinite norm by itself.

        Where a figure is not finite the norm is not computed and returned as infinite: the run ends there.
        """
        read = [float(figure) for figure in figures]  # the same on every process
        if not all(map(math.isfinite, read)):
            return [*read, math.inf]
        for group, rate in zip(self._engine.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self._engine.step()
        if self._engine.optimizer.overflow:
            return [*read, math.inf]
        norm = float(torch.as_tensor(self._engine.get_global_grad_norm()))
        return [*read, norm]

    def weights(self, named: dict[str, nn.Parameter]) -> dict[str, Tensor]:
        """The full parameters; under ZeRO-3 gathered from their masters, of which they are rounded copies."""
        if self.stage < 3:
            return dict(named)
        return {name: self._full(parameter).to(parameter.dtype) for name, parameter in named.items()}

    def state(self) -> dict[str, Any]:
        """Everything the next step depends on, by the names of `MasterOptimizer.state_dict`."""
        self._link_moments()
        state: dict[str, Tensor] = {}
        steps = [entry["step"] for entry in self._inner.state.values() if "step" in entry]
        for name, parameter in self._named():
            if parameter.dtype in LOW_PRECISION:
                state[f"{name}.master"] = self._full(parameter).cpu()
            if steps:
                state |= {f"{name}.{key}": self._full(parameter, key).cpu() for key in MOMENTS}
                state[f"{name}.step"] = torch.as_tensor(float(steps[0]))
        return state

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state of any engine's. Raises CheckpointError when it is of other parameters."""
        named = dict(self._named())
        expected = {f"{name}.{key}" for name in named for key in (*MOMENTS, "step")}
        expected |= {f"{name}.master" for name, parameter in named.items() if parameter.dtype in LOW_PRECISION}
        moved = any(key.endswith(".step") for key in state)
        wrong = sorted(expected ^ state.keys()) if moved else []
        if wrong:
            raise CheckpointError(
                f"optimizer state: {wrong[0]} and {len(wrong) - 1} more are on one side only. Was the recipe changed?"
            )
        if moved:
            self._make_moments(state)
        for name, parameter in named.items():
            if f"{name}.master" in state:
                self._place(parameter, state[f"{name}.master"])
            for key in MOMENTS if moved else ():
                self._place(parameter, state[f"{name}.{key}"], key)

    def _full(self, parameter: nn.Parameter, key: str = "") -> Tensor:
        """A parameter's fp32 master, or a moment of it, gathered from all processes."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        found = safe_get_full_optimizer_state(parameter, key) if key else safe_get_full_fp32_param(parameter)
        full = cast(Tensor, found).detach().clone()
        return full.view(cast(_Partitioned, parameter).ds_shape if self.stage == 3 else parameter.shape)

    def _place(self, parameter: nn.Parameter, value: Tensor, key: str = "") -> None:
        """Set this process's part of a parameter's fp32 master, or of a moment, from the full tensor `value`."""
        from deepspeed import utils

        if self.stage < 3:
            full = value.to(parameter.device)
            if key:
                utils.safe_set_full_optimizer_state(parameter, full, key)
            else:
                utils.safe_set_full_fp32_param(parameter, full)
            return
        # DeepSpeed's setters of full tensors fail where the number of processes does not divide the parameter.
        own = (
            utils.safe_get_local_optimizer_state(parameter, key) if key else utils.safe_get_local_fp32_param(parameter)
        )
        start = distributed.ranks().rank * own.numel()
        part = torch.zeros_like(own)  # the last process's is padded
        mine = value.flatten()[start : start + own.numel()].to(own)
        part[: len(mine)] = mine
        if key:
            utils.safe_set_local_optimizer_state(parameter, part, key)
        else:
            utils.safe_set_local_fp32_param(parameter, part)

    @property
    def _inner(self) -> torch.optim.Optimizer:
        return cast(torch.optim.Optimizer, self._engine.optimizer.optimizer)

    def _make_moments(self, state: Mapping[str, Tensor]) -> None:
        """Allocate moments for the flat tensors of this process, which torch otherwise does in its first step."""
        step = next(value for key, value in state.items() if key.endswith(".step"))
        for flat in self._flats():
            zeros = {key: torch.zeros_like(flat) for key in MOMENTS}
            self._inner.state[flat] = {"step": step.float().reshape(()).to(flat.device, copy=True), **zeros}
        self._link_moments()

    def _link_moments(self) -> None:
        """Under ZeRO 1 and 2, link every parameter to its moments.

        DeepSpeed does so once, when the first group has made its step and the others have no moments yet (0.19.8,
        stage_1_and_2.py, _optimizer_step).
        """
        if self.stage < 3:
            self._engine.optimizer._hp_optimizer_states_linked = False
            self._engine.optimizer._lazy_init_hp_params_optimizer_state()

    def _flats(self) -> list[Tensor]:
        """The flat fp32 tensors that the inner optimizer steps; each of DeepSpeed's classes names them differently."""
        optimizer = self._engine.optimizer
        kind = type(optimizer).__name__
        flats: dict[str, Callable[[], list[Tensor]]] = {
            "DeepSpeedZeroOptimizer": lambda: optimizer.single_partition_of_fp32_groups,
            "BF16_Optimizer": lambda: optimizer.fp32_groups_flat_partition,
            "DeepSpeedZeroOptimizer_Stage3": lambda: optimizer.fp32_partitioned_groups_flat,
        }
        return flats[kind]()

    def _named(self) -> Iterator[tuple[str, nn.Parameter]]:
        for group in self.groups:
            for index, parameter in enumerate(group.parameters):
                yield f"{group.name}.{index}", parameter


def gather_with(module: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
    """Let ZeRO-3 gather these parameters for every call of `module`, which reads them without calling their owner.

    Call it before the engine is built. Raises ConfigError where DeepSpeed is missing.
    """
    deepspeed = _import_deepspeed()
    for parameter in parameters:
        deepspeed.zero.register_external_parameter(module, parameter)


@contextmanager
def gathered(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Inside, every process has all of these parameters of ZeRO-3, for code that reads them in no call of a module."""
    with _import_deepspeed().zero.GatheredParameters(list(parameters)):
        yield


def _import_deepspeed() -> Any:
    """The package, which reads its device and ranks from the environment when it is imported."""
    if on_cpu():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    ranks = distributed.ranks()
    os.environ.setdefault("LOCAL_SIZE", os.environ.get("LOCAL_WORLD_SIZE", str(ranks.world)))
    os.environ.setdefault("LOCAL_RANK", str(ranks.local))
    try:
        import deepspeed
    except ImportError as cause:
        raise ConfigError("parallel.zero needs DeepSpeed: pip install 'eyegraft[deepspeed]'") from cause
    return deepspeed


def _initialize(model: nn.Module, optimizer: torch.optim.Optimizer, settings: dict[str, Any]) -> Any:
    deepspeed = _import_deepspeed()
    if not torch.distributed.is_initialized():
        raise ConfigError("parallel.zero needs processes to share: start it with --nproc N (1 is enough) or torchrun")
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    _skip_shared_memory_library()
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings, dist_init_required=False)
    return engine


def _skip_shared_memory_library() -> None:
    """Keep DeepSpeed from compiling an all-reduce over shared memory on machines without a GPU.

    Only its inference calls it (0.19.8, comm/torch.py, inference_all_reduce); the compilation takes a C++ compiler and
    up to a minute. `deepspeed.comm.torch` as an attribute is torch itself.
    """
    vars(import_module("deepspeed.comm.torch"))["build_shm_op"] = lambda: None
