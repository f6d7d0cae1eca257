"""Products of a few rows on a CPU: a decoding step multiplies each weight with one row an answer."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

# Rows that are measured, and those that take the same way: MKL's product of W with 4 columns is its fastest a column.
MEASURED = {1: (1,), 2: (2,), 4: (3, 4), 8: (5, 6, 7, 8)}
DTYPES = (torch.float32, torch.bfloat16)
TIMES = 3  # measurements of each way in turn, of which the shortest counts
WEIGHTS = 16  # of one shape that a measurement multiplies, so that they come from memory as in a step
WORTH = 0.9  # of the plain product's time, below which the other way is taken


class FewRows:
    """Computes x W^T of 1 to 8 rows as (W x^T)^T for the shapes of weights where that is faster on this CPU.

    MKL's fp32 product of 4 rows takes twice the time of one on some CPUs, although both read the same weights. In bf16
    W x is faster than `linear` for large weights: SmolLM2's head [49152, 576], two cores of a Xeon with AMX, torch
    2.14.1, takes 1.4 ms instead of 1.9 ms, and a step of one answer 36.9 ms instead of 38.6 ms. Of the vendor's name
    nothing follows, so both ways are measured, on the model's own weights, in about a second. Weights on a CPU are
    concerned; in fp32 one row is multiplied as ever. fp32 results differ in the rounding of sums; those in bf16, which
    are sums in fp32 that are rounded once, were equal there.
    """

    def __init__(self, model: nn.Module) -> None:
        shapes: dict[torch.Size, list[nn.Linear]] = defaultdict(list)
        for module in model.modules():
            if type(module) is nn.Linear and _concerns(module):
                shapes[module.weight.shape].append(module)
        rows = {shape: turned_rows([one.weight for one in linears]) for shape, linears in shapes.items()}
        self._turned = [(one, rows[shape]) for shape, linears in shapes.items() for one in linears if rows[shape]]

    @property
    def helps_one_row(self) -> bool:
        """Whether a step with a single answer is faster so."""
        return any(1 in rows for _, rows in self._turned)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the model multiplies so."""
        for module, rows in self._turned:
            vars(module)["forward"] = partial(_multiply, module, rows)
        try:
            yield
        finally:
            for module, _ in self._turned:
                del vars(module)["forward"]


def turned_product(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`linear(inputs, weight, bias)`, computed with the rows as columns; 3 are filled up to 4, 5 to 7 to 8."""
    rows = inputs.reshape(-1, inputs.shape[-1])
    count = len(rows)
    if count == 1:
        product = torch.mv(weight, rows[0]) if bias is None else torch.addmv(bias, weight, rows[0])
        return product.reshape(*inputs.shape[:-1], len(weight))
    if count > 2:
        rows = pad(rows, (0, 0, 0, -count % 4))
    product = weight @ rows.t() if bias is None else torch.addmm(bias[:, None], weight, rows.t())
    return product.t()[:count].reshape(*inputs.shape[:-1], len(weight)).contiguous()  # later layers expect rows


@torch.no_grad()
def turned_rows(weights: list[Tensor]) -> frozenset[int]:
    """The numbers of rows at which weights [out, in] of one shape are multiplied faster by `turned_product`."""
    some, found = weights[:WEIGHTS], set[int]()
    for count, like in MEASURED.items():
        if count == 1 and some[0].dtype == torch.float32:
            continue
        inputs = some[0].new_ones(count, some[0].shape[1])
        plain, turned = zip(*((_seconds(linear, inputs, some), _seconds(turned_product, inputs, some))
                              for _ in range(TIMES)), strict=True)  # fmt: skip
        if min(turned) < WORTH * min(plain):
            found.update(like)
    return frozenset(found)


def _seconds(product: Callable[[Tensor, Tensor, None], Tensor], inputs: Tensor, weights: list[Tensor]) -> float:
    began = time.perf_counter()
    for weight in weights:
        product(inputs, weight, None)
    return time.perf_counter() - began


def _concerns(module: nn.Linear) -> bool:
    """Another forward of the module's own, such as one that moves it to a device, stays."""
    weight = module.weight
    return weight.device.type == "cpu" and weight.dtype in DTYPES and "forward" not in vars(module)


def _multiply(module: nn.Linear, turned: frozenset[int], inputs: Tensor) -> Tensor:
    if inputs.numel() // inputs.shape[-1] in turned:
        return turned_product(inputs, module.weight, module.bias)
    return linear(inputs, module.weight, module.bias)
