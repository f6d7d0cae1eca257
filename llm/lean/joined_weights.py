"""Linears that read the same rows, and their adapters, as one matrix: one product where there were seven.

    J = [ W   B ]  out        y      = [x  n] [W  B]^T      n = scale x A^T
        [ A   0 ]  ranks      dx     = [dy t] [W; A]        t = dy B, A with the scale
         in   ranks

W stacks the linears' weights, A their adapters; B has each adapter's block where its rows and its ranks meet. Rows come
in tables with room for n and t beside them. So an adapter costs two narrow products a pass, not a pass over wide rows
for each of its factors, and what it adds is summed in fp32 with the rest. A bf16 product on a CPU costs some 40 us
beside its work, in a kernel of its own for each shape: a step of 490 rows needed 83 new ones and needs 44.

The linears' weights and biases become views of J and of the biases in a row: nothing is held twice but A and B. Weights
that were pages of a mapped file are the process's own from then on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from llm.lean.lora_linear import Fan, Gradients, Table, product
from llm.model.quantization import is_four_bit


@dataclass(frozen=True, slots=True)
class Joint:
    """J, and the biases of its linears one after the other."""

    matrix: Tensor  # [out + ranks, in + ranks]
    bias: Tensor | None
    ranks: int

    @property
    def outs(self) -> int:
        """Columns of all outputs together."""
        return len(self.matrix) - self.ranks

    @property
    def ins(self) -> int:
        """Columns of the input."""
        return self.matrix.shape[1] - self.ranks

    @property
    def downs(self) -> Tensor:
        """A [ranks, in]."""
        return self.matrix[self.outs :, : self.ins]

    @property
    def ups(self) -> Tensor:
        """B [out, ranks]."""
        return self.matrix[: self.outs, self.ins :]

    def holds(self, fan: Fan) -> bool:
        """Whether the fan's weights still are those in here, and all adapters are switched on."""
        if sum(len(adapter.down) for adapter in fan.adapters) != self.ranks:
            return False
        place, row = self.matrix.data_ptr(), self.matrix.stride(0) * self.matrix.element_size()
        for part, width in zip(fan.parts, fan.widths, strict=True):
            if part.linear.weight.data_ptr() != place or part.linear.weight.requires_grad:
                return False
            place += width * row
        return True


JOINTS: WeakKeyDictionary[nn.Module, Joint] = WeakKeyDictionary()  # by the first module of a fan


# Matrices lie many to a block that malloc maps apart from its heap (glibc: above 32 MiB). Among the heap's blocks they
# would leave holes where the weights were: 16 MiB more at the highest moment of a step of 1,270 rows.
BLOCK = 64 * 2**20  # bytes
LINE = 64  # bytes that a matrix begins at a multiple of


@torch.no_grad()
def join(groups: Iterable[tuple[nn.Module, ...]]) -> None:
    """Put the weights of modules that read the same rows into one matrix, where they stay as they are: frozen, dense
    and on a CPU. A card's calls cost less, and its kernels serve all shapes.
    """
    fans: dict[nn.Module, Fan] = {}
    for modules in groups:
        fan = Fan.of(*modules)
        if _stays(fan):
            fans[modules[0]] = fan
        if sum(map(_size, fans.values())) >= BLOCK:
            _join(fans)
            fans = {}
    _join(fans)


def _stays(fan: Fan) -> bool:
    """Whether nothing of the fan's but adapters that drop nothing changes, and there is something to be joined."""
    linears, adapters = [part.linear for part in fan.parts], fan.adapters
    if any(is_four_bit(linear) for linear in linears) or fan.drops or (len(linears) == 1 and not adapters):
        return False
    biases = [linear.bias for linear in linears if linear.bias is not None]
    if len(biases) not in (0, len(linears)) or any(bias.requires_grad for bias in biases):
        return False
    kinds = {tensor.dtype for tensor in (*(linear.weight for linear in linears), *(one.down for one in adapters))}
    frozen = not any(linear.weight.requires_grad for linear in linears)
    return frozen and len(kinds) == 1 and all(linear.weight.device.type == "cpu" for linear in linears)


def _shape(fan: Fan) -> tuple[int, int]:
    ranks = sum(len(adapter.down) for adapter in fan.adapters)
    return sum(fan.widths) + ranks, fan.parts[0].linear.in_features + ranks


def _size(fan: Fan) -> int:
    """Bytes of a fan's matrix, up to the next line."""
    rows, columns = _shape(fan)
    weight: Tensor = fan.parts[0].linear.weight
    return -(-rows * columns * weight.element_size() // LINE) * LINE


def _join(fans: dict[nn.Module, Fan]) -> None:
    """Lay these fans' matrices one behind the other, with their weights, which become views; A and B come later."""
    memory = torch.zeros(sum(map(_size, fans.values())), dtype=torch.uint8)
    for (module, fan), place in zip(fans.items(), memory.split([_size(fan) for fan in fans.values()]), strict=True):
        rows, columns = _shape(fan)
        matrix = place.view(fan.parts[0].linear.weight.dtype)[: rows * columns].view(rows, columns)
        outs, ins = sum(fan.widths), fan.parts[0].linear.in_features
        for part, own in zip(fan.parts, matrix[:outs, :ins].split(fan.widths), strict=True):
            part.linear.weight.data = own.copy_(part.linear.weight)
        JOINTS[module] = Joint(matrix, _biases(fan), rows - outs)


def _biases(fan: Fan) -> Tensor | None:
    """[out]: those of all linears, which become views of it; None where there are none."""
    linears = [part.linear for part in fan.parts if part.linear.bias is not None]
    if not linears:
        return None
    whole = torch.cat([linear.bias for linear in linears])
    for linear, own in zip(linears, whole.split(fan.widths), strict=True):
        linear.bias.data = own
    return whole


def fan_of(count: int, *modules: nn.Module) -> Fan:
    """A view of modules that read the same `count` rows: joined if `join` did that and they are as they were then."""
    plain, joint = Fan.of(*modules), JOINTS.get(modules[0])
    if joint is None or plain.drops or plain.merges(count) or not joint.holds(plain):
        return plain
    return JoinedFan(plain.parts, joint)


@dataclass(frozen=True)
class JoinedFan(Fan):
    """A fan whose linears and adapters stand in one matrix."""

    joint: Joint

    @property
    def room(self) -> int:
        """A column of each table for each rank."""
        return self.joint.ranks

    def rows(self, table: Table, onto: Tensor | None = None) -> Sequence[Tensor]:
        """[T, out] of each part; `onto` [T, out] is added to the only part's rows without a pass of its own."""
        self._bring_adapters()
        self._narrow_beside(table)
        y = product(table.whole, self.joint.matrix[: self.joint.outs], self.joint.bias, onto)
        return y.split(self.widths, 1) if len(self.parts) > 1 else (y,)

    def backward(self, gradient: Table, x: Table | None) -> tuple[Tensor, Gradients]:
        """The gradient of the input rows [T, in], and those of what trains, as in `gradients`."""
        self._turn_beside(gradient)
        dx = torch.mm(gradient.whole, self.joint.matrix[:, : self.joint.ins])
        return dx, self._of_adapters(gradient, x)

    def gradients(self, gradient: Table, x: Table | None) -> Gradients:
        """Of what trains, in the order of `trained`; `x` may be None where nothing does."""
        if x is None or not self.trained:
            return ()
        self._turn_beside(gradient)
        return self._of_adapters(gradient, x)

    def _bring_adapters(self) -> None:
        """A with the scale, rounded to the weights' dtype, and B, as they are now."""
        if not self.room:
            return
        downs, ups = self.joint.downs, self.joint.ups
        places = [(downs[ranks], ups[rows, ranks]) for rows, ranks in self._places]
        factors = [(adapter.down, adapter.up) for adapter in self.adapters]
        torch._foreach_copy_([place for pair in places for place in pair], [part for pair in factors for part in pair])
        for (down, _), adapter in zip(places, self.adapters, strict=True):
            if adapter.scale != 1:
                down.mul_(adapter.scale)

    @cached_property
    def _places(self) -> list[tuple[slice, slice]]:
        """The rows of each adapter's output, and its ranks among those of all."""
        starts = [0, *accumulate(self.widths)]
        return [(slice(starts[index], starts[index + 1]), ranks) for index, _, ranks in self._columns]

    def _narrow_beside(self, x: Table) -> None:
        """n = scale x A^T, beside x."""
        if self.room:
            torch.mm(x.own, self.joint.downs.t(), out=x.whole[:, self.joint.ins :])

    def _turn_beside(self, gradient: Table) -> None:
        """t = dy B, beside dy."""
        if self.room:
            torch.mm(gradient.own, self.joint.ups, out=gradient.whole[:, self.joint.outs :])

    def _of_adapters(self, gradient: Table, x: Table | None) -> Gradients:
        """Of A and B, those that train; t stands beside the gradient."""
        if x is None or not self.trained:
            return ()
        self._narrow_beside(x)
        narrow, turned = x.whole[:, self.joint.ins :], gradient.whole[:, self.joint.outs :]
        of_downs, of_ups = torch.mm(turned.t(), x.own), torch.mm(gradient.own.t(), narrow)
        found: list[Tensor] = []
        for adapter, (rows, ranks) in zip(self.adapters, self._places, strict=True):
            if adapter.down.requires_grad:
                found.append(of_downs[ranks].mul_(adapter.scale))
            if adapter.up.requires_grad:
                found.append(of_ups[rows, ranks])
        return tuple(found)
