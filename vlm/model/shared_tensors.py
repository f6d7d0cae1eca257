"""Models in memory that hold equal weights hold them once: adapters over one base, runs over one tower.

Each model stays a module of its own, with all that its checkpoint changed: only values that are equal bit for bit are
shared, so no answer can differ, and nothing has to be switched between two requests.
"""

from collections.abc import Callable, Iterable, Iterator
from weakref import ref

import torch
from torch import Tensor, nn

SMALLEST = 4096  # bytes; smaller tensors are not worth a look
SAMPLE = 64  # values by which a tensor is looked up
FOUR_BIT = "Params4bit"  # bitsandbytes' parameter of a Linear4bit, whose packed values are its data
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
OnModel = Callable[[nn.Module], None]  # called with a model that has just been loaded
Key = tuple[tuple[int, ...], torch.dtype, tuple[int, ...]]


def ignore(_: nn.Module) -> None:
    """Share nothing."""


class SharedTensors:
    """The tensors of models that are in memory. Not thread-safe."""

    def __init__(self) -> None:
        self._known: dict[Key, list[ref[Tensor]]] = {}

    @torch.no_grad()
    def adopt(self, model: nn.Module) -> None:
        """Let the tensors of `model`, in place, be those of a model that was added, where they are equal bit for bit.

        The weights of both must not be changed in place from then on.
        """
        for tensor in _tensors(model):
            equal = self._find(tensor)
            if equal is not None:
                tensor.data = equal.data

    def add(self, model: nn.Module) -> None:
        """Make a model's tensors known, for as long as they are in memory. It must be where it will compute."""
        for key in [key for key, refs in self._known.items() if not any(one() is not None for one in refs)]:
            del self._known[key]
        for tensor in _tensors(model):
            self._known.setdefault(_key(tensor), []).append(ref(tensor))

    def _find(self, tensor: Tensor) -> Tensor | None:
        living = (one() for one in self._known.get(_key(tensor), ()))
        return next((one for one in living if one is not None and one is not tensor and _same(one, tensor)), None)


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    """The parameters and buffers that may be shared, each once; tied weights are one tensor."""
    for tensor in (*model.parameters(), *model.buffers()):
        plain = type(tensor) in (nn.Parameter, Tensor) or type(tensor).__name__ == FOUR_BIT
        if plain and not tensor.is_meta and tensor.is_contiguous() and tensor.nbytes >= SMALLEST:
            yield tensor


def _key(tensor: Tensor) -> Key:
    """Equal tensors have equal keys."""
    values = _bits(tensor)
    return tuple(tensor.shape), tensor.dtype, tuple(values[:: max(1, len(values) // SAMPLE)][:SAMPLE].tolist())


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(_bits(one), _bits(other).to(one.device))


def _bits(tensor: Tensor) -> Tensor:
    """The values as integers: 0.0 is not -0.0, and a NaN is itself."""
    return tensor.detach().view(-1).view(INTEGERS[tensor.element_size()])


def stored_bytes(models: Iterable[nn.Module]) -> int:
    """Bytes of all tensors of these models, those that they share once."""
    storages: dict[int, int] = {}
    for model in models:
        for tensor in (*model.parameters(), *model.buffers()):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())
