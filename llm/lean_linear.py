"""A linear and its adapter as one product: its rows, the gradient of its input, and those of what trains in it.

All of it runs inside autograd functions, where no graph is built.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from llm.tuning import NAME, LoraLinear, dense_weight, is_four_bit

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
        parts: dict[str, Any] = {"down": layer.lora_A[NAME], "up": layer.lora_B[NAME]}
        dropout: Any = layer.lora_dropout[NAME]
        drop = dropout.p if layer.training and isinstance(dropout, nn.Dropout) else 0.0
        seed = int(torch.randint(2**62, (), device="cpu")) if drop else 0
        factors = {name: part.weight for name, part in parts.items()}
        return cls(**factors, scale=layer.scaling[NAME], drop=drop, seed=seed)

    def kept(self, x: Tensor) -> Tensor:
        """Dropout: x without what is dropped, the rest scaled up."""
        if not self.drop:
            return x
        mask = torch.empty_like(x)
        if not x.is_meta:  # a forecast has nothing to draw
            mask.bernoulli_(1 - self.drop, generator=torch.Generator(x.device).manual_seed(self.seed))
        return mask.mul_(x).div_(1 - self.drop)

    def add_rows(self, x: Tensor, y: Tensor) -> None:
        """Add what the adapter makes of x [T, in] to y [T, out]."""
        torch.addmm(y, torch.mm(self.kept(x), self.down.t()), self.up.t(), alpha=self.scale, out=y)

    def add_input_gradient(self, dy: Tensor, dx: Tensor) -> None:
        """Add the gradient that passes through the adapter to dx [T, in]."""
        narrow = torch.mm(dy, self.up)
        if self.drop:
            dx.add_(self.kept(torch.mm(narrow, self.down)), alpha=self.scale)
        else:
            torch.addmm(dx, narrow, self.down, alpha=self.scale, out=dx)

    def gradients(self, dy: Tensor, x: Tensor) -> Gradients:
        """Of A and B, those that train."""
        found: list[Tensor | None] = []
        x = self.kept(x)
        if self.down.requires_grad:
            found.append(torch.mm(torch.mm(dy, self.up).mul_(self.scale).t(), x))
        if self.up.requires_grad:
            found.append(torch.mm(dy.t(), torch.mm(x, self.down.t()).mul_(self.scale)))
        return tuple(found)


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
        """What trains here, in the order of `gradients`."""
        factors = (self.adapter.down, self.adapter.up) if self.adapter else ()
        parts = (self.linear.weight, self.linear.bias, *factors)
        return tuple(part for part in parts if part is not None and part.requires_grad)

    def rows(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """[T, in] -> [T, out]; `onto` [T, out] is added without a pass of its own."""
        weight, beside = self.weight_for(len(x))
        bias = self.linear.bias
        if onto is None:
            y = torch.mm(x, weight.t()) if bias is None else torch.addmm(bias, x, weight.t())
        else:
            y = torch.addmm(onto, x, weight.t())
            if bias is not None:
                y += bias
        if beside is not None:
            beside.add_rows(x, y)
        return y

    def input_gradient(self, dy: Tensor, onto: Tensor | None = None) -> Tensor:
        """[T, out] -> [T, in]; added to `onto` in place where it is given."""
        weight, beside = self.weight_for(len(dy))
        dx = torch.mm(dy, weight) if onto is None else torch.addmm(onto, dy, weight, out=onto)
        if beside is not None:
            beside.add_input_gradient(dy, dx)
        return dx

    def gradients(self, dy: Tensor, x: Tensor) -> Gradients:
        """Of what trains here, for the input rows `x`."""
        found: list[Tensor | None] = []
        if self.linear.weight.requires_grad:
            found.append(torch.mm(dy.t(), x))
        if self.linear.bias is not None and self.linear.bias.requires_grad:
            found.append(dy.sum(0))
        return (*found, *(self.adapter.gradients(dy, x) if self.adapter else ()))

    def weight_for(self, count: int) -> tuple[Tensor, Adapter | None]:
        """The dense weight for products over `count` rows, and the adapter that goes beside it, if any.

        In fp32, W + scale B A is made anew where that is less work than two narrow products and a sum over all rows.
        In bf16 the sum would round small adapters away, and what is dropped differs by row.
        """
        weight = dense_weight(self.linear) if is_four_bit(self.linear) else self.linear.weight
        adapter = self.adapter
        if adapter is None:
            return weight, None
        outs, ins = weight.shape
        if weight.dtype != torch.float32 or adapter.drop or count * (ins + outs) <= ins * outs:
            return weight, adapter
        return torch.addmm(weight, adapter.up, adapter.down, alpha=adapter.scale), None
