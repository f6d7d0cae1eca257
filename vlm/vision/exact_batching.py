"""Features of a frozen tower in batches, where batching changes no bit of any image's features.

Cached features must not depend on the batch in which an image was first seen. On a CPU a batch can change bits in two
ways, and a batch size is used only after both were ruled out, once, on random images:

- Matrix products and convolutions have different kernels for different shapes. One that sums in another order changes
  nearly every fp32 value, and some in ten thousand bf16 values, of which a tower computes millions: a trial shows it.
- Functions such as gelu round differently in a full SIMD vector than value by value, which is how torch computes what
  a thread's share leaves over after its full vectors. That is too rare for a trial to show, so no such function may
  leave a partial vector.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from llm.machine_constants import CNN_CALL_IMAGES, TOWER_CALL_POSITIONS
from vlm.vision.towers import CNN, Tower

MOST_TOKENS = TOWER_CALL_POSITIONS.count  # of one call
SIZES = (8, 4, 2)  # images of a call, if they are few enough tokens
CNN_SIZES = (CNN_CALL_IMAGES.count,)
VECTOR = 64  # values of a full vector, or a multiple: torch takes two vectors of 512 bits in bf16 at a time
# Values per thread of an elementwise operation in torch (at::internal::GRAIN_SIZE). gelu has a rule of its own: all
# threads from half as many values on.
GRAIN = 32768
# Elementwise operations that round at most once: the same in a vector and value by value.
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
UNTAGGED = {"glu", "hardswish"}  # elementwise, though torch does not tag them


@dataclass(slots=True)
class ExactBatches:
    """A tower's features of a batch of images, bit for bit those of each image by itself."""

    tower: Tower
    # Batch sizes by what kernels depend on: device, dtype and number of threads.
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
        # On a CPU convolutions reorder maps unless channels come last, and a batch of one has other kernels: a single
        # image therefore goes with a copy.
        batch = pixels if len(pixels) > 1 else pixels.expand(2, -1, -1, -1)
        return self.tower.features(batch.contiguous(memory_format=torch.channels_last))[: len(pixels)]

    def _proven(self, pixels: Tensor) -> tuple[int, ...]:
        """Batch sizes that change no bits, the largest first."""
        if len(pixels) < min(SIZES):
            return ()
        key = (str(pixels.device), self.tower.module.dtype, torch.get_num_threads())
        if key not in self._sizes:
            tokens = self.tower.grid**2 + self.tower.leading  # in the tower, before pooling
            tried = CNN_SIZES if self.tower.kind == CNN else [size for size in SIZES if size * tokens <= MOST_TOKENS]
            self._sizes[key] = tuple(size for size in tried if self._same(size, pixels))
        return self._sizes[key]

    def _same(self, size: int, like: Tensor) -> bool:
        """Whether random images in one call have the same bits as each by itself, and no partial vector was left."""
        drawn = torch.randn(size, *like.shape[1:], generator=torch.Generator().manual_seed(size))
        images = drawn.to(like.device, like.dtype)
        with PartialVectors() as partial:
            batched = self._call(images)
            single = torch.cat([self._call(image) for image in images.split(1)])
        full_vectors = like.device.type != "cpu" or not partial.found
        return full_vectors and torch.equal(batched, single)


class PartialVectors(TorchDispatchMode):
    """Notes whether an elementwise function that runs inside leaves a thread with a partly filled vector."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)  # by its name, as in llm/planning/allocation_tracker.py
        self.found = False

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Run an operation; check its result and its arguments."""
        options = kwargs or {}
        result = func(*args, **options)
        name = func.overloadpacket.__name__.rstrip("_")
        exact = name in EXACT and "alpha" not in options  # x + alpha y rounds twice
        if name in UNTAGGED or (torch.Tag.pointwise in func.tags and not exact):
            self.found |= any(leaves_partial_vector(values) for values in (result, *args) if isinstance(values, Tensor))
        return result


def leaves_partial_vector(values: Tensor) -> bool:
    """Whether any thread's share of these values ends in a partly filled vector."""
    count, most = values.numel(), torch.get_num_threads()
    dense = values.is_contiguous() or (values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last))
    shares = [-(-count // threads) for threads in (1, max(1, min(most, -(-count // GRAIN))), most)]
    return not dense or any(share % VECTOR for share in shares)
