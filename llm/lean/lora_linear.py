"""Linears and their adapters: their rows, the gradient of their input, and those of what trains in them.

All of it runs inside autograd functions, where no graph is built.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from llm.model.lora import ADAPTER_NAME, LoraLinear
from llm.model.quantization import dense_weight, is_four_bit

Gradients = tuple[Tensor | None, ...]


@dataclass(frozen=True, slots=True)
class Adapter:
    """What is added to a linear: scale (drop(x) A^T) B^T.

    `seed` draws the values that are dropped, the same ones in the forward and in the backward pass: no mask is kept.
    """

    down: Tensor  # A [rank, in]
    up: Tensor  # B [out, rank]
    scale: float
    drop: float  # share of x that is dropped now
    seed: int

    @classmethod
    def of(cls, layer: LoraLinear) -> "Adapter":
        """A view of a layer's adapter for one forward pass and its backward pass."""
        parts: dict[str, Any] = {"down": layer.lora_A[ADAPTER_NAME], "up": layer.lora_B[ADAPTER_NAME]}
        dropout: Any = layer.lora_dropout[ADAPTER_NAME]
        drop = dropout.p if layer.training and isinstance(dropout, nn.Dropout) else 0.0
        seed = int(torch.randint(2**62, (), device="cpu")) if drop else 0
        factors = {name: part.weight for name, part in parts.items()}
        return cls(**factors, scale=layer.scaling[ADAPTER_NAME], drop=drop, seed=seed)

    def kept(self, x: Tensor) -> Tensor:
        """Dropout: x without what is dropped, the rest scaled up."""
        if not self.drop:
            return x
        mask = torch.empty_like(x)
        if not x.is_meta:  # torch has no generator for meta tensors
            mask.bernoulli_(1 - self.drop, generator=torch.Generator(x.device).manual_seed(self.seed))
        return mask.mul_(x).div_(1 - self.drop)

    def merged(self, weight: Tensor) -> Tensor:
        """W + scale B A."""
        return torch.addmm(weight, self.up, self.down, alpha=self.scale)


@dataclass(frozen=True, slots=True)
class Linear:
    """y = x W^T + b, and an adapter's part. `linear` holds W and b, dense or in 4 bits."""

    linear: Any  # nn.Linear or bitsandbytes' untyped Linear4bit
    adapter: Adapter | None = None

    @classmethod
    def of(cls, module: nn.Module) -> "Linear":
        """A view of a linear, adapted or not; an adapter that is switched off counts as none."""
        if not isinstance(module, LoraLinear):
            return cls(module)
        return cls(module.base_layer, None if module.disable_adapters else Adapter.of(module))

    @property
    def trained(self) -> tuple[Tensor, ...]:
        """What trains here: the weight, the bias, A and B."""
        factors = (self.adapter.down, self.adapter.up) if self.adapter else ()
        parts = (self.linear.weight, self.linear.bias, *factors)
        return tuple(part for part in parts if part is not None and part.requires_grad)

    @property
    def weight(self) -> Tensor:
        """W [out, in], dense."""
        weight: Tensor = dense_weight(self.linear) if is_four_bit(self.linear) else self.linear.weight
        return weight


@dataclass(frozen=True, slots=True)
class Table:
    """Rows, and room beside them for their narrow products if their fan wants it (llm/lean/joined_weights.py)."""

    own: Tensor  # [T, width]
    whole: Tensor  # [T, width + ranks]; `own` itself where there is no room

    @classmethod
    def like(cls, rows: Tensor, width: int, ranks: int = 0) -> "Table":
        """As many rows as `rows`, of its dtype and device, empty."""
        whole = rows.new_empty(len(rows), width + ranks)
        return cls(whole[:, :width] if ranks else whole, whole)

    @classmethod
    def holding(cls, rows: Tensor, ranks: int = 0) -> "Table":
        """These rows; a copy where they need room."""
        if not ranks:
            return cls(rows, rows)
        made = cls.like(rows, rows.shape[1], ranks)
        made.own.copy_(rows)
        return made


@dataclass(frozen=True)
class Fan:
    """Linears that read the same rows x: one narrow product serves the adapters of all of them.

    Short products cost their calls, not their operations: an adapter alone makes seven of them in a step, the three of
    queries, keys and values together make thirteen.
    """

    parts: tuple[Linear, ...]

    @classmethod
    def of(cls, *modules: nn.Module) -> "Fan":
        """A view of linears, each adapted or not."""
        return cls(tuple(Linear.of(module) for module in modules))

    @property
    def room(self) -> int:
        """Columns that this fan's tables have beside their rows."""
        return 0

    @cached_property
    def widths(self) -> list[int]:
        """Columns of each part's output."""
        return [part.linear.out_features for part in self.parts]

    def input_like(self, rows: Tensor) -> Table:
        """An empty table for x."""
        return Table.like(rows, self.parts[0].linear.in_features, self.room)

    def gradient_like(self, rows: Tensor) -> Table:
        """An empty table for the gradients of all parts, side by side."""
        return Table.like(rows, sum(self.widths), self.room)

    def holding(self, rows: Tensor) -> Table:
        """A table of rows that are already there: x, or the gradient of an only part."""
        return Table.holding(rows, self.room)

    def apart(self, table: Table) -> tuple[Tensor, ...]:
        """The columns of each part [T, out]."""
        return table.own.split(self.widths, 1) if len(self.parts) > 1 else (table.own,)

    @cached_property
    def trained(self) -> tuple[Tensor, ...]:
        """What trains here, in the order of the gradients."""
        return tuple(tensor for part in self.parts for tensor in part.trained)

    @cached_property
    def adapters(self) -> list[Adapter]:
        """Those that there are, in the order of their parts."""
        return [part.adapter for part in self.parts if part.adapter is not None]

    @cached_property
    def drops(self) -> bool:
        """Whether any adapter drops values now."""
        return any(adapter.drop for adapter in self.adapters)

    def rows(self, table: Table, onto: Tensor | None = None) -> Sequence[Tensor]:
        """[T, out] of each part; `onto` [T, out] is added to the only part's rows without a pass of its own."""
        x = table.own
        weights, beside = self.weights_for(len(x))
        found = [product(x, weight, part.linear.bias, onto) for part, weight in zip(self.parts, weights, strict=True)]
        if beside:
            narrow = self._narrow(x)
            for index, adapter, columns in self._columns:
                torch.addmm(found[index], narrow[:, columns], adapter.up.t(), alpha=adapter.scale, out=found[index])
        return found

    def backward(self, gradient: Table, x: Table | None) -> tuple[Tensor, Gradients]:
        """The gradient of the input rows [T, in], and those of what trains, as in `gradients`."""
        grads = self.apart(gradient)
        turned = self._turned(grads)
        return self._input_gradient(grads, turned), self._gradients(grads, x, turned)

    def gradients(self, gradient: Table, x: Table | None) -> Gradients:
        """Of what trains, in the order of `trained`; `x` may be None where nothing does."""
        if x is None or not self.trained:
            return ()
        grads = self.apart(gradient)
        return self._gradients(grads, x, self._turned(grads))

    def _gradients(self, grads: Sequence[Tensor], table: Table | None, turned: Tensor | None) -> Gradients:
        if table is None or not self.trained:
            return ()
        x = table.own
        of_adapters: dict[int, list[Tensor]] = {}
        if turned is not None:
            of_adapters = self._adapter_gradients(grads, turned, x)
        found: list[Tensor] = []
        for index, (part, dy) in enumerate(zip(self.parts, grads, strict=True)):
            if part.linear.weight.requires_grad:
                found.append(torch.mm(dy.t(), x))
            if part.linear.bias is not None and part.linear.bias.requires_grad:
                found.append(dy.sum(0))
            found += of_adapters.get(index, [])
        return tuple(found)

    def weights_for(self, count: int) -> tuple[list[Tensor], bool]:
        """The dense weights for products over `count` rows, and whether adapters go beside them."""
        weights = [part.weight for part in self.parts]
        if not self.merges(count):
            return weights, bool(self.adapters)
        for index, adapter, _ in self._columns:
            weights[index] = adapter.merged(weights[index])
        return weights, False

    def merges(self, count: int) -> bool:
        """Whether adapters go into the weights for products over `count` rows.

        In fp32, W + scale B A is made anew where that is less work than narrow products and sums over all rows.
        In bf16 the sum would round small adapters away, and what is dropped differs by row.
        """
        if not self.adapters or self.drops or self.adapters[0].down.dtype != torch.float32:
            return False
        shapes = [(len(adapter.up), adapter.down.shape[1]) for adapter in self.adapters]
        return count * sum(outs + ins for outs, ins in shapes) > sum(outs * ins for outs, ins in shapes)

    @cached_property
    def _columns(self) -> list[tuple[int, Adapter, slice]]:
        """Which part has an adapter, and where the adapter's ranks stand among those of all."""
        found, start = [], 0
        for index, part in enumerate(self.parts):
            if part.adapter is not None:
                end = start + len(part.adapter.down)
                found.append((index, part.adapter, slice(start, end)))
                start = end
        return found

    def _downs(self) -> Tensor:
        """A of all adapters [ranks, in]."""
        return _joined([adapter.down for adapter in self.adapters], 0)

    def _narrow(self, x: Tensor) -> Tensor:
        """A x of all adapters [T, ranks]."""
        if self.drops:
            return _joined([torch.mm(adapter.kept(x), adapter.down.t()) for adapter in self.adapters], 1)
        return torch.mm(x, self._downs().t())

    def _turned(self, grads: Sequence[Tensor]) -> Tensor | None:
        """scale dy B of all adapters [T, ranks]."""
        found = []
        for index, adapter, _ in self._columns:
            found.append(torch.mm(grads[index], adapter.up))
            if adapter.scale != 1:
                found[-1].mul_(adapter.scale)
        return _joined(found, 1) if found else None

    def _input_gradient(self, grads: Sequence[Tensor], turned: Tensor | None) -> Tensor:
        weights, beside = self.weights_for(len(grads[0]))
        dx = torch.mm(grads[0], weights[0])
        for dy, weight in zip(grads[1:], weights[1:], strict=True):
            torch.addmm(dx, dy, weight, out=dx)
        if not beside or turned is None:
            return dx
        if not self.drops:
            return torch.addmm(dx, turned, self._downs(), out=dx)
        for _, adapter, columns in self._columns:
            dx.add_(adapter.kept(torch.mm(turned[:, columns], adapter.down)))
        return dx

    def _adapter_gradients(self, grads: Sequence[Tensor], turned: Tensor, x: Tensor) -> dict[int, list[Tensor]]:
        """Of A and B, those that train, by the part's number."""
        narrow = self._narrow(x)
        downs = None if self.drops else torch.mm(turned.t(), x)
        found: dict[int, list[Tensor]] = {}
        for index, adapter, columns in self._columns:
            of_one = found[index] = []
            if adapter.down.requires_grad:
                if downs is None:
                    of_one.append(torch.mm(turned[:, columns].t(), adapter.kept(x)))
                else:
                    of_one.append(downs[columns])
            if adapter.up.requires_grad:
                of_one.append(torch.mm(grads[index].t(), narrow[:, columns]).mul_(adapter.scale))
        return found


def product(x: Tensor, weight: Tensor, bias: Tensor | None, onto: Tensor | None) -> Tensor:
    """x W^T + b + onto: [T, out]."""
    if onto is None:
        return torch.mm(x, weight.t()) if bias is None else torch.addmm(bias, x, weight.t())
    y = torch.addmm(onto, x, weight.t())
    return y if bias is None else y.add_(bias)


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)
