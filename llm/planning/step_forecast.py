"""Forecast of a training step's peak memory and operations: the step itself runs on meta tensors.

The forward pass, the loss, the backward pass with its recomputation, the accumulation of gradients in fp32 and the
optimizer's step run the code of training; `llm.planning.allocation_tracker` records their allocations. So no formula
per layer is needed, and any architecture that transformers can build is covered. Fused kernels, which meta tensors do
not have, are replaced by functions that save and return tensors of the same sizes.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, Self, cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from llm.attention.backend import TORCH, Sdpa
from llm.attention.varlen_kernels import Call, Lengths
from llm.config.schema import Lean, OptimConfig
from llm.data.batch import PackedBatch
from llm.devices import CPU, CUDA
from llm.forward.pack_model import PackModel
from llm.lean.decoder import mode_on
from llm.model.lora import lora_layers
from llm.model.meta_model import META
from llm.planning.allocation_tracker import AllocationTracker
from llm.planning.known_values import KnownValues, NumbersOnCpu
from llm.train.optimizer import MasterOptimizer, ParamGroup

Kind = Literal["cpu", "card"]
DEVICE_TYPES: dict[Kind, str] = {"cpu": CPU, "card": CUDA}
SMALLEST_8BIT = 4096  # bitsandbytes 0.50.2, optim/optimizer.py: smaller tensors keep fp32 moments
BLOCK_8BIT = 256


class Batch(Protocol):
    """A pack, text or vision."""

    def to(self, device: torch.device) -> Self: ...


@dataclass(frozen=True, slots=True)
class MetaModel:
    """A model without weights, and its modules that a forecast lists separately."""

    model: PackModel
    groups: list[ParamGroup]
    parts: dict[str, nn.Module]  # modules whose weights are a part of their own, by its name
    heads: tuple[nn.Module, ...]  # the LM head and the loss module; the first that is called starts part "head"
    image_modules: tuple[nn.Module, ...] = ()  # modules whose activations are part "pictures"
    recompute: Callable[[], None] = lambda: None  # switches activation checkpointing on, as the recipe has it
    reads_values: bool = False  # whether its forward pass reads values of its inputs, such as the grids of images
    objective: nn.Module | None = None  # called with packs in place of `model`, which it holds

    @property
    def step(self) -> nn.Module:
        """What is called with a pack and returns its loss."""
        return self.objective or self.model


@dataclass(frozen=True, slots=True)
class StepForecast:
    """A step's peak memory in bytes, by part, and the operations of one pack without recomputation."""

    parts: dict[str, int]
    flops: int

    @property
    def total(self) -> int:
        """The sum of all parts, in bytes."""
        return sum(self.parts.values())


def measure(
    meta: MetaModel, optim: OptimConfig, batch: Batch, text: PackedBatch, packs: int, kind: Kind
) -> StepForecast:
    """The peak memory of a step over `packs` packs like `batch`, after the optimizer has allocated its moments.

    More than two packs need what two do: from the second on, gradients are allocated. `text` is the batch itself, or
    the text of a vision batch.
    """
    flops, reached = count_operations(meta, batch, text, kind)
    meta.recompute()
    tracker = AllocationTracker()
    with running(meta, ForecastBackend(kind, tracker), meta.model.lean):
        _weights(tracker, meta)
        with tracker.under("batch"):
            moved = batch.to(META)
        with tracker.under("masters"):
            optimizer = MasterOptimizer(meta.groups, optim, NoOptimizer)
        with tracker.under("moments"):
            moments = [
                moments_of(master, optim.name.endswith("8bit"))
                for parameter, master in optimizer.pairs
                if parameter in reached
            ]
        _step(tracker, meta, optimizer, optim.clip, moved, min(packs, 2))
    del moments  # allocated during the step
    return StepForecast({part: size for part, size in tracker.at_peak.items() if size}, flops)


@torch.no_grad()
def measure_reading(meta: MetaModel, batch: Batch, text: PackedBatch, kind: Kind) -> StepForecast:
    """Peak memory, by part, and operations of one pack that is read without gradients, as an evaluation reads it."""
    counted, tracker = AllocationTracker(), AllocationTracker()
    card = ForecastBackend("card", counted, visible_pairs(text), passes=1)
    lean = mode_on(meta.model.lean, DEVICE_TYPES[kind])
    with running(meta, card, lean):
        meta.model(batch.to(META))
    with running(meta, ForecastBackend(kind, tracker), lean):
        _weights(tracker, meta)
        meta.model(batch.to(META))
    return StepForecast({part: size for part, size in tracker.at_peak.items() if size}, counted.flops)


def _weights(tracker: AllocationTracker, meta: MetaModel) -> None:
    """Assign the model's parameters and buffers to their parts."""
    tracker.own(stored(meta.model), "weights")
    for part, module in meta.parts.items():
        tracker.own(stored(module), part)
    tracker.own((tensor for _, layer in lora_layers(meta.model) for tensor in adapter_of(layer)), "adapters")


def stored(module: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers, persistent or not."""
    yield from module.parameters()
    yield from module.buffers()


def adapter_of(layer: nn.Module) -> Iterator[Tensor]:
    """The parameters of a linear's adapter, without those of its base layer."""
    return (parameter for name, parameter in layer.named_parameters() if name.startswith("lora_"))


def _step(
    tracker: AllocationTracker, meta: MetaModel, optimizer: MasterOptimizer, clip: float, batch: Batch, packs: int
) -> None:
    """One step over the packs, as `llm.train.engine.TorchEngine` and the loop run it."""
    meta.step.train()
    with _parts_by_module(tracker, meta):
        for _ in range(packs):
            tracker.part = "activations"
            backward(meta.step(batch))
            with tracker.under("gradients"):
                optimizer.collect()
    with tracker.under("gradients"):
        optimizer.clip(clip)
        optimizer.step(1.0)
    optimizer.zero_grad()


def backward(loss: Tensor) -> None:
    """The backward pass, with function modes active in layers that it recomputes.

    Modes intercept `torch.autograd.backward` of a tensor and are inactive inside it; they do not of a graph's edge.
    """
    torch.autograd.backward(get_gradient_edge(loss), torch.ones_like(loss))


class NoOptimizer(torch.optim.Optimizer):
    """An optimizer whose step does nothing: fused AdamW allocates no memory in its step."""

    def __init__(self, groups: list[dict[str, Any]], _: OptimConfig) -> None:
        super().__init__(groups, {})

    def step(self, closure: Any = None) -> Any:
        """Change no parameter."""


def moments_of(master: Tensor, eight_bit: bool) -> list[Tensor]:
    """AdamW's two moments of a parameter: in fp32, or, of large ones, in 8 bits with an fp32 scale a block of 256."""
    if not eight_bit or master.numel() < SMALLEST_8BIT:
        return [torch.empty_like(master, dtype=torch.float32) for _ in range(2)]
    scales = [master.new_empty(-(-master.numel() // BLOCK_8BIT), dtype=torch.float32) for _ in range(2)]
    return [*scales, *(torch.empty_like(master, dtype=torch.uint8) for _ in range(2))]


@contextmanager
def _parts_by_module(tracker: AllocationTracker, meta: MetaModel) -> Iterator[None]:
    """Inside, hooks assign allocations to the parts pictures, head, backward and gradients."""
    handles: list[RemovableHandle] = []

    def enter(part: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_: nn.Module, __: tuple[Any, ...]) -> None:
            tracker.part = part

        return hook

    def leave(_: nn.Module, __: object, ___: object) -> None:
        tracker.part = "activations"

    def into_head(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        tracker.part = "head"  # logits, loss and their backward pass, until it reaches these inputs
        inputs[0].register_hook(out_of_head)

    def out_of_head(_: Tensor) -> None:
        tracker.part = "backward"

    def gradient(parameter: Tensor) -> None:
        assert parameter.grad is not None
        tracker.own([parameter.grad], "gradients")

    for module in meta.image_modules:
        handles += [module.register_forward_pre_hook(enter("pictures")), module.register_forward_hook(leave)]
    handles += [head.register_forward_pre_hook(into_head) for head in meta.heads]
    for group in meta.groups:
        handles += [parameter.register_post_accumulate_grad_hook(gradient) for parameter in group.parameters]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


# Operations ----------------------------------------------------------------------------------------------------------


def count_operations(meta: MetaModel, batch: Batch, text: PackedBatch, kind: Kind) -> tuple[int, set[nn.Parameter]]:
    """The operations of one pack, and the parameters that received a gradient: the optimizer has no moments of others.

    Operations are those of the forward and the backward pass, two a multiply-add, without recomputation: call this
    before `meta.recompute`. Attention of the text counts the pairs of positions that attend to each other, once in the
    forward and twice in the backward pass (Dao et al. 2022, arXiv 2205.14135, without its recomputation). Layers of a
    tower after the one that is projected receive no gradient.
    """
    tracker = AllocationTracker()
    # The GPU's backend counts attention by the pairs, and lean layers recompute no product on it.
    backend, lean = ForecastBackend("card", tracker, visible_pairs(text)), mode_on(meta.model.lean, DEVICE_TYPES[kind])
    with running(meta, backend, lean):
        backward(meta.step(batch.to(META)))
    trained = [parameter for group in meta.groups for parameter in group.parameters]
    reached = {parameter for parameter in trained if parameter.grad is not None}
    for parameter in trained:
        parameter.grad = None
    return tracker.flops, reached


def visible_pairs(text: PackedBatch) -> int:
    """The number of pairs of a query and a key that it attends to."""
    lengths = text.attention.lengths
    queries, keys = lengths.cu_queries.diff().long(), lengths.cu_keys.diff().long()
    return int((queries * keys - queries * (queries - 1) // 2).sum())


# Kernels -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ForecastBackend:
    """Attention on meta tensors: of a CPU, on padded groups, or of a GPU ("card"), with a varlen kernel.

    For a GPU the operations on `pairs` pairs of a query and a key are added to the tracker: two products, once in the
    forward and twice in the backward pass, or in so many `passes`.
    """

    kind: Kind
    tracker: AllocationTracker
    pairs: int = 0
    passes: int = 3

    @property
    def sdpa(self) -> Sdpa:
        """Passed to the text's attention; `ReplaceSdpa` finds the towers' calls."""
        return partial(fused, self.tracker)

    def device_type(self, states: Tensor) -> str:
        """The device type that the forecast is for, whatever the tensor's."""
        return DEVICE_TYPES[self.kind]

    def varlen_kernel(self, query: Tensor, dropout: float) -> Call | None:
        """Always a kernel on a GPU, with any dtype and dropout; None on a CPU."""
        return self._varlen if self.kind == "card" else None

    def cascades(self, query: Tensor) -> bool:
        """Never: forecasts are of steps."""
        return False

    def _varlen(self, query: Tensor, key: Tensor, value: Tensor, lengths: Lengths, scale: float) -> Tensor:
        self.tracker.flops += self.passes * 4 * self.pairs * query.shape[1] * query.shape[2]
        return cast(Tensor, FusedAttention.apply(query, key, value))


@contextmanager
def backend_of(model: PackModel, backend: ForecastBackend, lean: Lean) -> Iterator[None]:
    """Inside, the model runs on this backend, and its decoder in this mode."""
    before, model.backend, model.lean = model.lean, backend, lean
    try:
        yield
    finally:
        model.backend, model.lean = TORCH, before


@contextmanager
def running(meta: MetaModel, backend: ForecastBackend, lean: Lean) -> Iterator[None]:
    """Inside, the model runs on meta tensors, and the backend's tracker records what it allocates."""
    with (
        backend_of(meta.model, backend, lean),
        META,
        ReplaceSdpa(backend.tracker),
        backend.tracker,
        ExitStack() as more,
    ):
        if meta.reads_values:
            more.enter_context(KnownValues())
            more.enter_context(NumbersOnCpu())
        yield


class FusedAttention(torch.autograd.Function):
    """The allocations of fused attention: it saves its inputs, its output and an fp32 log-sum-exp a query and head."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, output, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, _, _ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def fused(tracker: AllocationTracker, query: Tensor, key: Tensor, value: Tensor, *_: object, **__: object) -> Tensor:
    """Replaces scaled_dot_product_attention; adds its operations to the tracker."""
    passes = 3 if query.requires_grad else 1
    tracker.flops += passes * 4 * query.numel() * key.shape[-2]
    return cast(Tensor, FusedAttention.apply(query, key, value))


class ReplaceSdpa(TorchFunctionMode):
    """Inside, calls of scaled_dot_product_attention run `fused` instead.

    Dropout is not replaced: a CPU saves its mask in the input's dtype, the kernels of a GPU one byte a value.
    """

    def __init__(self, tracker: AllocationTracker) -> None:
        super().__init__()
        self.tracker = tracker

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Replace a call of SDPA; run any other unchanged."""
        options = kwargs or {}
        if func is scaled_dot_product_attention:
            return fused(self.tracker, *args[:3])
        return func(*args, **options)
