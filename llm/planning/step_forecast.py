"""How much memory and work a training step takes: the step itself is run, on a model without weights.

The forward pass, the loss, the backward pass with whatever it recomputes, the sum of gradients in fp32 and the
optimizer's step are the ones that train; `llm.planning.allocation_tracker` writes down what they hold. So no formula
per layer is needed, and any architecture that transformers can build is counted alike. Fused kernels, which meta
tensors do not have, are replaced by what they save and return.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from llm.attention.backend import TORCH, Sdpa
from llm.attention.varlen_kernels import Call, Lengths
from llm.config.schema import Lean, OptimConfig
from llm.data.batch import PackedBatch
from llm.forward.pack_model import PackModel
from llm.lean.decoder import mode_on
from llm.model.lora import lora_layers
from llm.model.meta_model import META
from llm.planning.allocation_tracker import AllocationTracker
from llm.train.optimizer import MasterOptimizer, ParamGroup

Kind = Literal["cpu", "card"]
DEVICE_TYPES: dict[Kind, str] = {"cpu": "cpu", "card": "cuda"}
SMALLEST_8BIT = 4096  # bitsandbytes 0.50.2, optim/optimizer.py: smaller tensors keep fp32 moments
BLOCK_8BIT = 256


class Batch(Protocol):
    """A pack, text or vision."""

    def to(self, device: torch.device) -> Self: ...


@dataclass(frozen=True, slots=True)
class MetaModel:
    """A model without weights, and which of its modules are told apart in a forecast."""

    model: PackModel
    groups: list[ParamGroup]
    parts: dict[str, nn.Module]  # whose weights are listed by themselves
    heads: tuple[nn.Module, ...]  # the LM head and the loss behind it, whichever is called
    pictures: tuple[nn.Module, ...] = ()  # whose activations are listed by themselves
    recompute: Callable[[], None] = lambda: None  # has the layers do it; until then they keep everything


@dataclass(frozen=True, slots=True)
class StepForecast:
    """Bytes at the highest moment of a step, by part, and the useful operations of one pack."""

    parts: dict[str, int]
    flops: int

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(self.parts.values())


def measure(
    shape: MetaModel, optim: OptimConfig, batch: Batch, text: PackedBatch, packs: int, kind: Kind
) -> StepForecast:
    """What a step over `packs` packs like `batch` holds at its highest moment, when the moments are already there.

    More than two packs hold what two do: the second finds the first one's gradients. `text` is the batch, or its
    text.
    """
    flops, reached = rehearse(shape, batch, text, kind)
    shape.recompute()
    tracker = AllocationTracker()
    with backend_of(shape.model, ForecastBackend(kind, tracker), shape.model.lean), META, Fused(tracker), tracker:
        _weights(tracker, shape)
        with tracker.under("batch"):
            moved = batch.to(META)
        with tracker.under("masters"):
            optimizer = MasterOptimizer(shape.groups, optim, NoOptimizer)
        with tracker.under("moments"):
            moments = [
                moments_of(master, optim.name.endswith("8bit"))
                for parameter, master in optimizer.pairs
                if parameter in reached
            ]
        _step(tracker, shape, optimizer, optim.clip, moved, min(packs, 2))
    del moments  # alive until here
    return StepForecast({part: size for part, size in tracker.at_peak.items() if size}, flops)


def _weights(tracker: AllocationTracker, shape: MetaModel) -> None:
    """Who the model's own tensors belong to."""
    tracker.own(stored(shape.model), "weights")
    for part, module in shape.parts.items():
        tracker.own(stored(module), part)
    tracker.own((tensor for _, layer in lora_layers(shape.model) for tensor in adapter_of(layer)), "adapters")


def stored(module: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers, saved or not."""
    yield from module.parameters()
    yield from module.buffers()


def adapter_of(layer: nn.Module) -> Iterator[Tensor]:
    """An adapted linear's own parameters, without those of the linear below."""
    return (parameter for name, parameter in layer.named_parameters() if name.startswith("lora_"))


def _step(
    tracker: AllocationTracker, shape: MetaModel, optimizer: MasterOptimizer, clip: float, batch: Batch, packs: int
) -> None:
    """What `llm.train.engine.TorchEngine` and the loop do with a step's packs."""
    shape.model.train()
    with _told_apart(tracker, shape):
        for _ in range(packs):
            tracker.part = "activations"
            torch.autograd.backward(shape.model(batch))
            with tracker.under("gradients"):
                optimizer.collect()
    with tracker.under("gradients"):
        optimizer.clip(clip)
        optimizer.step(1.0)
    optimizer.zero_grad()


class NoOptimizer(torch.optim.Optimizer):
    """Holds parameters and does nothing: fused AdamW needs no memory of its own, and meta tensors no arithmetic."""

    def __init__(self, groups: list[dict[str, Any]], _: OptimConfig) -> None:
        super().__init__(groups, {})

    def step(self, closure: Any = None) -> Any:
        """Nothing moves."""


def moments_of(master: Tensor, eight_bit: bool) -> list[Tensor]:
    """AdamW's two moments of one parameter; in 8 bits a byte a value and four each 256, except for small tensors."""
    if not eight_bit or master.numel() < SMALLEST_8BIT:
        return [torch.empty_like(master, dtype=torch.float32) for _ in range(2)]
    scales = [master.new_empty(-(-master.numel() // BLOCK_8BIT), dtype=torch.float32) for _ in range(2)]
    return [*scales, *(torch.empty_like(master, dtype=torch.uint8) for _ in range(2))]


@contextmanager
def _told_apart(tracker: AllocationTracker, shape: MetaModel) -> Iterator[None]:
    """Inside, what pictures, head and backward pass make stands under their names, and gradients under theirs."""
    handles: list[RemovableHandle] = []

    def enter(part: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_: nn.Module, __: tuple[Any, ...]) -> None:
            tracker.part = part

        return hook

    def leave(_: nn.Module, __: object, ___: object) -> None:
        tracker.part = "activations"

    def into_head(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        tracker.part = "head"  # logits and loss follow, and their backward pass until it comes out here
        inputs[0].register_hook(out_of_head)

    def out_of_head(_: Tensor) -> None:
        tracker.part = "backward"

    def gradient(parameter: Tensor) -> None:
        assert parameter.grad is not None
        tracker.own([parameter.grad], "gradients")

    for module in shape.pictures:
        handles += [module.register_forward_pre_hook(enter("pictures")), module.register_forward_hook(leave)]
    handles += [head.register_forward_pre_hook(into_head) for head in shape.heads]
    for group in shape.groups:
        handles += [parameter.register_post_accumulate_grad_hook(gradient) for parameter in group.parameters]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


# Work ----------------------------------------------------------------------------------------------------------------


def rehearse(shape: MetaModel, batch: Batch, text: PackedBatch, kind: Kind) -> tuple[int, set[nn.Parameter]]:
    """Useful operations of one pack, and the parameters that its gradient reaches: the others never get moments.

    Operations are those of forward and backward pass, two a multiply-add, counted on the products that run before
    `shape.recompute` repeats any. The text's attention counts the pairs that see each other, forward once and backward
    twice (Dao et al. 2022, arXiv 2205.14135, without its recomputation). A tower's last layers, behind the one that is
    projected, are reached by nothing.
    """
    tracker = AllocationTracker()
    # A card's backend counts attention by the pairs, and has lean layers recompute no product.
    backend, lean = ForecastBackend("card", tracker, visible_pairs(text)), mode_on(shape.model.lean, DEVICE_TYPES[kind])
    with backend_of(shape.model, backend, lean), META, Fused(tracker), tracker:
        torch.autograd.backward(shape.model(batch.to(META)))
    trained = [parameter for group in shape.groups for parameter in group.parameters]
    reached = {parameter for parameter in trained if parameter.grad is not None}
    for parameter in trained:
        parameter.grad = None
    return tracker.flops, reached


def visible_pairs(text: PackedBatch) -> int:
    """Pairs of rows of which one sees the other, or itself."""
    lengths = text.attention.lengths
    queries, keys = lengths.cu_queries.diff().long(), lengths.cu_keys.diff().long()
    return int((queries * keys - queries * (queries - 1) // 2).sum())


# Kernels -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ForecastBackend:
    """The attention of a CPU, on padded groups, or of a card with a varlen kernel, on meta tensors.

    A card's work on `pairs` of positions that attend to each other is added to the tracker: two products, forward once
    and backward twice.
    """

    kind: Kind
    tracker: AllocationTracker
    pairs: int = 0

    @property
    def sdpa(self) -> Sdpa:
        """Passed down, because a function mode does not reach into the backward pass, where attention runs again."""
        return partial(fused, self.tracker)

    def device_type(self, states: Tensor) -> str:
        """The forecast device's, whatever the tensor's."""
        return DEVICE_TYPES[self.kind]

    def varlen_kernel(self, query: Tensor, dropout: float) -> Call | None:
        """On a card always: in half precision or not, with dropout or without."""
        return self._varlen if self.kind == "card" else None

    def _varlen(self, query: Tensor, key: Tensor, value: Tensor, lengths: Lengths, scale: float) -> Tensor:
        self.tracker.flops += 3 * 4 * self.pairs * query.shape[1] * query.shape[2]
        return cast(Tensor, FusedAttention.apply(query, key, value))


@contextmanager
def backend_of(model: PackModel, backend: ForecastBackend, lean: Lean) -> Iterator[None]:
    """Inside, the model runs on this backend, and its decoder in this mode."""
    before, model.backend, model.lean = model.lean, backend, lean
    try:
        yield
    finally:
        model.backend, model.lean = TORCH, before


class FusedAttention(torch.autograd.Function):
    """Any fused attention: it keeps its inputs, its output and one fp32 number a query and head."""

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
    """In SDPA's place; its work is told to the tracker."""
    passes = 3 if query.requires_grad else 1
    tracker.flops += passes * 4 * query.numel() * key.shape[-2]
    return cast(Tensor, FusedAttention.apply(query, key, value))


class Fused(TorchFunctionMode):
    """Inside, SDPA is the stand-in above; its work is told to the tracker.

    Dropout is left as a CPU has it, which keeps its mask in the input's dtype; a card's kernel keeps a byte a value.
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
        """Replace the call, or let it through."""
        options = kwargs or {}
        if func is scaled_dot_product_attention:
            return fused(self.tracker, *args[:3])
        return func(*args, **options)
