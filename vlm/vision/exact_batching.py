"""Several pictures in one call of a frozen tower, where that changes no bit of any of them.

What is kept of a picture must not depend on the company it was first seen in. Two things could make it so on a CPU, and
a size of call is used only after both were looked for, once, on random pictures. Products and convolutions have other
kernels for other shapes: one that adds in another order changes nearly every fp32 value, and of bf16 values some in ten
thousand, of which a tower makes millions. And functions like gelu are rounded differently in a whole vector than value
by value, which is how torch does what is left over behind the vectors of a thread: too rare for a trial to show, so no
such function may have anything left over.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vlm.vision.towers import CNN, Tower

# Rows of one call: below that a product costs its call as much as its work. 8 pictures of 49 rows in one call took 45
# ms, one by one 80 (a ViT of 22 M, bf16, two AVX512_BF16 cores); pictures of 577 rows gain nothing.
ROWS = 512
SIZES = (8, 4, 2)  # pictures of a call, where they are few enough rows
# Maps of a convolutional network in fp32 leave the cache in larger calls: 8 pictures of Lite0 took 53 ms in twos, 80 in
# fours, 98 in one call and 80 one by one.
CNN_SIZES = (2,)
VECTOR = 64  # values that torch takes at a time, or a multiple of them: two vectors of 32 bf16 values (AVX512)
# Values for which torch takes one thread more for an elementwise operation (at::internal::GRAIN_SIZE). gelu has a rule
# of its own: all threads from half as many values on.
GRAIN = 32768
# Elementwise operations with one rounding, or none: the same in a vector and by itself.
EXACT = {
    "abs",
    "add",
    "clamp",
    "clamp_min",
    "clone",
    "copy",
    "div",
    "hardtanh",
    "maximum",
    "minimum",
    "mul",
    "neg",
    "relu",
    "sub",
}
UNTAGGED = {"glu", "hardswish"}  # elementwise, though torch does not say so


@dataclass(slots=True)
class Apart:
    """A tower's features of pictures, each as by itself."""

    tower: Tower
    # By what decides about kernels: device, dtype and threads.
    _sizes: dict[tuple[str, torch.dtype, int], tuple[int, ...]] = field(default_factory=dict)

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """[U, 3, H, W] -> [U, P, C]."""
        found: list[Tensor] = []
        while len(pixels):
            size = next((size for size in self._proven(pixels) if size <= len(pixels)), 1)
            found.append(self._call(pixels[:size]))
            pixels = pixels[size:]
        return torch.cat(found)

    def _call(self, pixels: Tensor) -> Tensor:
        if self.tower.kind != CNN or pixels.device.type != "cpu":
            return self.tower.features(pixels)
        # A CPU's convolutions reorder maps unless channels come last, and are others for a batch of one: so a picture
        # by itself goes with a copy.
        shown = pixels if len(pixels) > 1 else pixels.expand(2, -1, -1, -1)
        return self.tower.features(shown.contiguous(memory_format=torch.channels_last))[: len(pixels)]

    def _proven(self, pixels: Tensor) -> tuple[int, ...]:
        """Sizes of call that change nothing, the largest first."""
        if len(pixels) < min(SIZES):
            return ()
        key = (str(pixels.device), self.tower.module.dtype, torch.get_num_threads())
        if key not in self._sizes:
            rows = self.tower.grid**2 + self.tower.leading  # in the tower, before any pooling
            tried = CNN_SIZES if self.tower.kind == CNN else [size for size in SIZES if size * rows <= ROWS]
            self._sizes[key] = tuple(size for size in tried if self._same(size, pixels))
        return self._sizes[key]

    def _same(self, size: int, like: Tensor) -> bool:
        """Whether random pictures in one call have the features that each has by itself, bit for bit."""
        drawn = torch.randn(size, *like.shape[1:], generator=torch.Generator().manual_seed(size))
        pictures = drawn.to(like.device, like.dtype)
        with Remainders() as remainders:
            together = self._call(pictures)
            alone = torch.cat([self._call(picture) for picture in pictures.split(1)])
        whole_vectors = like.device.type != "cpu" or not remainders.found
        return whole_vectors and torch.equal(together, alone)


class Remainders(TorchDispatchMode):
    """Notes whether an elementwise function of what runs inside leaves a thread values that fill no whole vector."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)  # by its name, as in llm/planning/allocation_tracker.py
        self.found = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, look at its result and at what it read."""
        options = kwargs or {}
        result = func(*args, **options)
        name = func.overloadpacket.__name__.rstrip("_")
        exact = name in EXACT and "alpha" not in options  # x + alpha y is two operations
        if name in UNTAGGED or (torch.Tag.pointwise in func.tags and not exact):
            self.found |= any(leaves_some(values) for values in (result, *args) if isinstance(values, Tensor))
        return result


def leaves_some(values: Tensor) -> bool:
    """Whether a thread that takes its share of these values comes to some that fill no whole vector."""
    count, most = values.numel(), torch.get_num_threads()
    dense = values.is_contiguous() or (values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last))
    shares = [-(-count // threads) for threads in (1, max(1, min(most, -(-count // GRAIN))), most)]
    return not dense or any(share % VECTOR for share in shares)
