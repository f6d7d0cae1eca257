"""Linears with LoRA adapters: outputs, the gradient of their input, and the gradients of their trained parameters.

It all runs inside autograd functions, where no graph is built.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from llm.model.lora import ADAPTER_NAME, LoraLinear
from llm.model.quantization import dense_weight, is_four_bit

Gradients = tuple[Tensor | None, ...]


@dataclass(frozen=True, slots=True)
class LoraFactors:
    """The adapter of one linear, which adds scale dropout(x) A^T B^T to its output.

    The dropout mask is drawn from `seed` in the forward and again in the backward pass, so no mask is saved.
    """

    down: Tensor  # A [rank, in]
    up: Tensor  # B [out, rank]
    scale: float
    drop: float  # probability that a value of x is dropped; 0 in evaluation
    seed: int

    @classmethod
    def of(cls, layer: LoraLinear) -> "LoraFactors":
        """A view of a layer's adapter for one forward pass and its backward pass."""
        down, up, dropout = (parts[ADAPTER_NAME] for parts in (layer.lora_A, layer.lora_B, layer.lora_dropout))
        assert isinstance(down, nn.Linear) and isinstance(up, nn.Linear)
        drop = dropout.p if layer.training and isinstance(dropout, nn.Dropout) else 0.0
        seed = int(torch.randint(2**62, (), device="cpu")) if drop else 0
        return cls(down.weight, up.weight, layer.scaling[ADAPTER_NAME], drop, seed)

    def dropout(self, x: Tensor) -> Tensor:
        """x with the mask's values zeroed and the rest scaled up by 1 / (1 - drop)."""
        if not self.drop:
            return x
        mask = torch.empty_like(x)
        if not x.is_meta:  # torch has no generator for meta tensors
            mask.bernoulli_(1 - self.drop, generator=torch.Generator(x.device).manual_seed(self.seed))
        return mask.mul_(x).div_(1 - self.drop)

    def merged(self, weight: Tensor) -> Tensor:
        """W + scale B A."""
        return torch.addmm(weight, self.up, self.down, alpha=self.scale)

    def added_to(self, addend: Tensor | None, narrow: Tensor) -> Tensor:
        """addend + scale narrow B^T: [T, out]; `narrow` is dropout(x) A^T."""
        if addend is None:
            return torch.mm(narrow, self.up.t()).mul_(self.scale)
        return torch.addmm(addend, narrow, self.up.t(), alpha=self.scale)


@dataclass(frozen=True, slots=True)
class AdaptedLinear:
    """y = x W^T + b, plus the output of an adapter if there is one. W is dense or in 4 bits."""

    linear: nn.Linear  # bitsandbytes' Linear4bit is a subclass
    adapter: LoraFactors | None = None

    @classmethod
    def of(cls, module: nn.Module) -> "AdaptedLinear":
        """A view of a linear, adapted or not; an adapter that is switched off counts as none."""
        if isinstance(module, LoraLinear):
            base = module.base_layer
            assert isinstance(base, nn.Linear)
            return cls(base, None if module.disable_adapters else LoraFactors.of(module))
        assert isinstance(module, nn.Linear)
        return cls(module)

    @property
    def trained(self) -> tuple[Tensor, ...]:
        """The trained ones of weight, bias, A and B, in this order."""
        factors = (self.adapter.down, self.adapter.up) if self.adapter else ()
        parts = (self.linear.weight, self.linear.bias, *factors)
        return tuple(part for part in parts if part is not None and part.requires_grad)

    @property
    def weight(self) -> Tensor:
        """W [out, in], dense."""
        return dense_weight(self.linear) if is_four_bit(self.linear) else self.linear.weight


@dataclass(frozen=True)
class LinearGroup:
    """Linears with the same input x [T, in]: one narrow product serves the adapters of all of them.

    The cost of small products is that of their calls: one adapter alone makes seven of them in a step, the three of
    queries, keys and values together make thirteen.

    In half precision, without dropout, adapters are multiplied first and the products with W are added to the result: a
    product sums in fp32 and rounds once. Added to a rounded product with W, most of the output of an adapter at the
    beginning of training would be below its last bit.
    """

    parts: tuple[AdaptedLinear, ...]

    @classmethod
    def of(cls, *modules: nn.Module) -> "LinearGroup":
        """A view of linears, each adapted or not, for one forward pass and its backward pass."""
        return cls(tuple(AdaptedLinear.of(module) for module in modules))

    @cached_property
    def trained(self) -> tuple[Tensor, ...]:
        """The trained parameters of all parts, in the order of their gradients."""
        return tuple(tensor for part in self.parts for tensor in part.trained)

    @cached_property
    def adapters(self) -> list[LoraFactors]:
        """The adapters of the parts that have one, in the order of the parts."""
        return [part.adapter for part in self.parts if part.adapter is not None]

    @cached_property
    def drops(self) -> bool:
        """Whether any adapter has dropout now."""
        return any(adapter.drop for adapter in self.adapters)

    def outputs(self, x: Tensor, residual: Tensor | None = None) -> list[Tensor]:
        """The output [T, out] of each part; `residual` [T, out] is added, in a group of one part."""
        weights, separate = self.weights_for(len(x))
        narrow = self._narrow(x) if separate else None
        addends: list[Tensor | None] = [part.linear.bias if residual is None else residual for part in self.parts]
        adapters_first = _rounds(x) and not self.drops
        if narrow is not None and adapters_first:
            for index, adapter, columns in self._columns:
                addends[index] = adapter.added_to(addends[index], narrow[:, columns])
        found = [
            torch.mm(x, weight.t()) if addend is None else torch.addmm(addend, x, weight.t())
            for weight, addend in zip(weights, addends, strict=True)
        ]
        for y, part in zip(found, self.parts, strict=True):
            if residual is not None and part.linear.bias is not None:
                y.add_(part.linear.bias)
        if narrow is not None and not adapters_first:
            for index, adapter, columns in self._columns:
                torch.addmm(found[index], narrow[:, columns], adapter.up.t(), alpha=adapter.scale, out=found[index])
        return found

    def backward(self, grads: Sequence[Tensor], x: Tensor | None) -> tuple[Tensor, Gradients]:
        """From gradients of the outputs to those of x and of the parameters in `trained`.

        `x` may be None if `trained` is empty.
        """
        narrow_grads = self._narrow_grads(grads)
        return self._input_grad(grads, narrow_grads), self._parameter_grads(grads, x, narrow_grads)

    def parameter_grads(self, grads: Sequence[Tensor], x: Tensor | None) -> Gradients:
        """`backward` without the gradient of x."""
        if x is None or not self.trained:
            return ()
        return self._parameter_grads(grads, x, self._narrow_grads(grads))

    def weights_for(self, count: int) -> tuple[list[Tensor], bool]:
        """The dense weights for products over `count` positions, and whether adapters are multiplied separately."""
        weights = [part.weight for part in self.parts]
        if not self.merges(count):
            return weights, bool(self.adapters)
        for index, adapter, _ in self._columns:
            weights[index] = adapter.merged(weights[index])
        return weights, False

    def merges(self, count: int) -> bool:
        """Whether adapters are merged into the weights for products over `count` positions.

        In fp32, where making W + scale B A is less work than narrow products over all positions. In bf16 the sum would
        round small adapters away, and with dropout the adapter's input differs by position.
        """
        if not self.adapters or self.drops or self.adapters[0].down.dtype != torch.float32:
            return False
        shapes = [(len(adapter.up), adapter.down.shape[1]) for adapter in self.adapters]
        return count * sum(outs + ins for outs, ins in shapes) > sum(outs * ins for outs, ins in shapes)

    @cached_property
    def _columns(self) -> list[tuple[int, LoraFactors, slice]]:
        """The index of each adapted part, its adapter, and the adapter's columns among the ranks of all."""
        found, start = [], 0
        for index, part in enumerate(self.parts):
            if part.adapter is not None:
                end = start + len(part.adapter.down)
                found.append((index, part.adapter, slice(start, end)))
                start = end
        return found

    def _downs(self) -> Tensor:
        """A of all adapters [ranks, in]."""
        return _concatenated([adapter.down for adapter in self.adapters], 0)

    def _narrow(self, x: Tensor) -> Tensor:
        """dropout(x) A^T of all adapters [T, ranks]."""
        if self.drops:
            return _concatenated([torch.mm(adapter.dropout(x), adapter.down.t()) for adapter in self.adapters], 1)
        return torch.mm(x, self._downs().t())

    def _narrow_grads(self, grads: Sequence[Tensor]) -> Tensor | None:
        """scale dy B of all adapters [T, ranks]: the gradients of dropout(x) A^T."""
        found = []
        for index, adapter, _ in self._columns:
            found.append(torch.mm(grads[index], adapter.up))
            if adapter.scale != 1:
                found[-1].mul_(adapter.scale)
        return _concatenated(found, 1) if found else None

    def _input_grad(self, grads: Sequence[Tensor], narrow_grads: Tensor | None) -> Tensor:
        weights, separate = self.weights_for(len(grads[0]))
        products = list(zip(grads, weights, strict=True))
        if separate and narrow_grads is not None:
            if not self.drops:
                adapters = (narrow_grads, self._downs())
                return _sum_of_products([adapters, *products] if _rounds(narrow_grads) else [*products, adapters])
            dx = _sum_of_products(products)
            for _, adapter, columns in self._columns:
                dx.add_(adapter.dropout(torch.mm(narrow_grads[:, columns], adapter.down)))
            return dx
        return _sum_of_products(products)

    def _parameter_grads(self, grads: Sequence[Tensor], x: Tensor | None, narrow_grads: Tensor | None) -> Gradients:
        if x is None or not self.trained:
            return ()
        of_adapters: dict[int, list[Tensor]] = {}
        if narrow_grads is not None:
            of_adapters = self._adapter_grads(grads, narrow_grads, x)
        found: list[Tensor] = []
        for index, (part, dy) in enumerate(zip(self.parts, grads, strict=True)):
            if part.linear.weight.requires_grad:
                found.append(torch.mm(dy.t(), x))
            if part.linear.bias is not None and part.linear.bias.requires_grad:
                found.append(dy.sum(0))
            found += of_adapters.get(index, [])
        return tuple(found)

    def _adapter_grads(self, grads: Sequence[Tensor], narrow_grads: Tensor, x: Tensor) -> dict[int, list[Tensor]]:
        """The gradients of the trained ones of A and B, by the index of the part."""
        narrow = self._narrow(x)
        downs = None if self.drops else torch.mm(narrow_grads.t(), x)
        found: dict[int, list[Tensor]] = {}
        for index, adapter, columns in self._columns:
            of_one = found[index] = []
            if adapter.down.requires_grad:
                if downs is None:
                    of_one.append(torch.mm(narrow_grads[:, columns].t(), adapter.dropout(x)))
                else:
                    of_one.append(downs[columns])
            if adapter.up.requires_grad:
                of_one.append(torch.mm(grads[index].t(), narrow[:, columns]).mul_(adapter.scale))
        return found


def _rounds(x: Tensor) -> bool:
    """Whether sums of products are rounded to half precision."""
    return x.dtype != torch.float32


def _sum_of_products(pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """The sum of all left @ right, in their order."""
    total = torch.mm(*pairs[0])
    for left, right in pairs[1:]:
        torch.addmm(total, left, right, out=total)
    return total


def _concatenated(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)
