"""Models in memory: opened when they are first used, put away when memory is needed, equal weights held once."""

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol
from weakref import ref

from llm.errors import EyegraftError
from llm.train.process_memory import FreeMemory, free_memory, release_free_memory

if TYPE_CHECKING:
    from torch import nn

    from llm.chat.chat_model import ChatModel
    from vlm.model.memory_need import MemoryNeed
    from vlm.model.shared_tensors import OnModel, SharedTensors

MIB, GIB = 2**20, 2**30
LEAST_LEFT = 512 * MIB  # of the device, for what prompts take while they are read, and for others
MACHINE, CARD, BOUND = "this machine", "the card", "--model-memory"
TOGETHER, NEW_TOKENS = 8, 4096  # answers at once, and their tokens, where a server does not say


class NoRoomError(EyegraftError):
    """A model that does not fit into memory; `for_now`, since the models there are answering."""

    def __init__(self, message: str, for_now: bool) -> None:
        super().__init__(message)
        self.for_now = for_now


class Source(Protocol):
    """What a model is opened from. `ModelWeights` is one."""

    @property
    def source(self) -> "Source":
        """The weights to load: one model answers with and without its adapters."""

    @property
    def adapters(self) -> bool:
        """Whether it answers with its adapters."""

    def stamp(self) -> str:
        """Identifies the contents."""

    def need(self, together: int, new_tokens: int) -> "MemoryNeed":
        """What it takes in memory."""

    def open(self, complete: "OnModel") -> "ChatModel":
        """Load the model; `complete` is called with its weights before they are moved to the device."""


Key = tuple[Source, str]


@dataclass(eq=False, slots=True)
class OpenModel:
    """A model in memory. `lent` are the copies that were handed out: it is in use while one of them is."""

    chat_model: "ChatModel"
    module: "nn.Module"
    lent: list["ref[ChatModel]"] = field(default_factory=list)

    @property
    def in_use(self) -> bool:
        """Whether somebody holds a copy."""
        self.lent = [one for one in self.lent if one() is not None]
        return bool(self.lent)


class OpenModels:
    """The models in memory, the least recently used of which are put away for others. Thread-safe.

    A model that somebody holds, for an answer that waits or is being generated, is never put away.
    """

    def __init__(
        self,
        together: int = TOGETHER,
        new_tokens: int = NEW_TOKENS,
        most: int = 0,
        free: Callable[[], FreeMemory] = free_memory,
    ) -> None:
        """Room is left for `together` answers of `new_tokens` a model.

        `most`: bytes that all models may take; 0: what is free.
        """
        self._together, self._new_tokens, self._most, self._free = together, new_tokens, most, free
        self._open: OrderedDict[Key, OpenModel] = OrderedDict()
        self._shared: SharedTensors | None = None  # made with the first model, since it imports torch
        self._opened = threading.Lock()  # held briefly: an open model answers while another is loaded
        self._loading = threading.Lock()

    def get(self, weights: Source) -> "ChatModel":
        """The model of these weights, loaded if it is not; written anew since, it is loaded again.

        Raises OSError when its files are gone, NoRoomError where memory has no room for it.
        """
        key = (weights.source, weights.stamp())
        found = self._lent(key, weights.adapters)
        if found is None:
            with self._loading:
                found = self._lent(key, weights.adapters)
                if found is None:
                    self._load(key)
                    found = self._lent(key, weights.adapters)
        assert found is not None, "just loaded, and nothing is put away without the lock"
        return found

    def open_now(self, weights: Source) -> "ChatModel":
        """The model of weights that are not written anew while it is served. Raises as `get`, and as opening does."""
        key = (weights, "")
        with self._loading:
            self._load(key)
            found = self._lent(key, weights.adapters)
        assert found is not None, "just loaded"
        return found

    def sizes(self) -> tuple[int, int]:
        """The number of models in memory, and their bytes, shared ones counted once."""
        with self._opened:
            modules = [one.module for one in self._open.values()]
        return len(modules), _bytes(modules)

    def _lent(self, key: Key, adapters: bool) -> "ChatModel | None":
        """A copy of an open model, by which it is known to be in use."""
        with self._opened:
            found = self._open.get(key)
            if found is None:
                return None
            self._open.move_to_end(key)
            copy = replace(found.chat_model, adapters=adapters)
            found.lent.append(ref(copy))
            return copy

    def _load(self, key: Key) -> None:
        from vlm.model.shared_tensors import SharedTensors

        need = key[0].need(self._together, self._new_tokens)
        self._make_room(need.weights, need.cache)
        shared = self._shared = self._shared or SharedTensors()
        loaded: list[nn.Module] = []

        def complete(module: "nn.Module") -> None:
            shared.adopt(module)
            loaded.append(module)
            release_free_memory()  # what was loaded a second time
            self._make_room_for(module, need.cache)

        chat_model = key[0].open(complete)
        shared.add(loaded[0])
        with self._opened:
            self._open[key] = OpenModel(chat_model, loaded[0])

    def _make_room(self, weights: int, cache: int) -> None:
        """Put models away until the machine has room to load one, or raise NoRoomError and leave all as they are.

        Of weights that others have too, the machine holds a second copy while it loads them.
        """
        free = self._free()
        if free.card is None:
            self._put_away(weights, cache, lambda: self._free().machine - LEAST_LEFT, MACHINE)
        elif free.machine - LEAST_LEFT < weights:  # models on the card leave it no room
            raise _refusal(weights, 0, MACHINE, free.machine - LEAST_LEFT, 0, for_now=False)

    def _make_room_for(self, module: "nn.Module", cache: int) -> None:
        """The same for what a loaded model adds: the weights that no other model has; on a card, and to the bound."""
        with self._opened:
            others = [one.module for one in self._open.values()]
        added = _bytes([*others, module]) - _bytes(others)
        if self._free().card is not None:
            self._put_away(added, cache, lambda: self._free().device - LEAST_LEFT, CARD)
        if self._most:
            self._put_away(added, cache, lambda: self._most - self.sizes()[1], BOUND)

    def _put_away(self, weights: int, cache: int, read_room: Callable[[], int], name: str) -> None:
        need = weights + cache
        while (room := read_room()) < need:
            with self._opened:
                idle = [key for key, one in self._open.items() if not one.in_use]
                held = _bytes([one.module for one in self._open.values() if one.in_use])
                all_bytes, in_use = _bytes([one.module for one in self._open.values()]), len(self._open) - len(idle)
                helps = bool(idle) and room + all_bytes - held >= need
                if helps:
                    del self._open[idle[0]]
            if not helps:
                raise _refusal(weights, cache, name, room, in_use, for_now=room + all_bytes >= need)
            gc.collect()  # modules refer to each other
            release_free_memory()


def _refusal(weights: int, cache: int, name: str, room: int, in_use: int, for_now: bool) -> NoRoomError:
    """The error with its figures; `for_now` when there will be room once the models in use are idle."""
    weights_text, cache_text, left = _gib(weights), _gib(cache), _gib(max(0, room))
    if for_now and in_use:
        return NoRoomError(
            f"the model needs {weights_text} for its weights and {cache_text} for answers; {name} has room for {left} "
            f"while {in_use} of its models are in use. Ask again in a moment",
            True,
        )
    return NoRoomError(
        f"the model needs {weights_text} for its weights and {cache_text} for answers; {name} has room for {left} with "
        "every other model put away. Take a larger machine, fewer bits or lower limits",
        False,
    )


def _bytes(modules: "list[nn.Module]") -> int:
    if not modules:
        return 0
    from vlm.model.shared_tensors import stored_bytes

    return stored_bytes(modules)


def _gib(size: int) -> str:
    return f"{size / GIB:.2f} GiB"
