"""Keys and values of several answers of unequal length, for a decoding step that extends each by a token.

Every row begins at column 0 and its next token goes to the column after its last one, wherever that is in the other
rows. Rows therefore join and leave without moving the others, which padding on the left would require; a mask hides
the columns that a row has not reached. Keys hold their rotary position already, so columns carry no meaning.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer

GROWTH = 1.5  # of the width when it is exceeded
SPARE = 64  # columns beyond those needed at least


@dataclass(slots=True)
class Step:
    """Where the tokens of one step go: row i to column `columns[i]`; `width` columns are read."""

    columns: Tensor  # [n, 1, 1, 1]
    width: int


@dataclass(slots=True)
class Lengths:
    """Tokens of each row, and the step in progress; the layers of a cache share it."""

    of_rows: list[int] = field(default_factory=list)
    step: Step | None = None


class SlotLayer(CacheLayerMixin):
    """One layer: keys and values [slots, heads, width, D], of which the first rows are in use."""

    is_sliding = False

    def __init__(self, lengths: Lengths) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self.is_initialized = False
        self._lengths = lengths

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: `join` allocates."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Store keys and values [n, heads, 1, D] of a step; returns all [n, heads, width, D]."""
        step = self._lengths.step
        assert step is not None and self.keys is not None and self.values is not None
        count = len(step.columns)
        for states, new in ((self.keys, key_states), (self.values, value_states)):
            states[:count].scatter_(2, step.columns.expand_as(new), new)  # faster than an assignment by index
        return self.keys[:count, :, : step.width], self.values[:count, :, : step.width]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns that the step reads, and the first of them."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Tokens of the longest row before the step."""
        return max(self._lengths.of_rows, default=0)

    def get_max_length(self) -> int:
        """-1: none."""
        return -1

    def place(self, row: int, keys: Tensor, values: Tensor, slots: int, width: int) -> None:
        """Copy the keys and values [1, heads, T, D] of a prompt into a row, with room for `slots` and `width`."""
        if self.keys is None or self.values is None:
            self.keys, self.values, self.is_initialized = keys[:0, :, :0], values[:0, :, :0], True
        self.reserve(slots, width)
        self.keys[row, :, : keys.shape[2]] = keys[0]
        self.values[row, :, : values.shape[2]] = values[0]

    def reserve(self, slots: int, width: int) -> None:
        """Make room for `slots` rows of `width` tokens."""
        assert self.keys is not None and self.values is not None
        self.keys, self.values = _with_room(self.keys, slots, width), _with_room(self.values, slots, width)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy `length` tokens of one row into another."""
        for states in (self.keys, self.values):
            assert states is not None
            states[target, :, :length] = states[source, :, :length]


def _with_room(states: Tensor, slots: int, width: int) -> Tensor:
    """Unused columns hold zeros: a masked NaN would still spoil the sum over the values."""
    had, heads, columns, size = states.shape
    if had >= slots and columns >= width:
        return states
    roomy = states.new_zeros(max(slots, had), heads, max(width, columns), size)
    roomy[:had, :, :columns] = states
    return roomy


class SlotCache(Cache):
    """transformers' cache interface over the rows of a running batch. Not thread-safe."""

    def __init__(self, layers: int) -> None:
        self._lengths = Lengths()
        self._slots, self._width = 0, 0
        self._slot_layers = [SlotLayer(self._lengths) for _ in range(layers)]
        super().__init__(layers=[*self._slot_layers])

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [*self._lengths.of_rows]

    def join(self, prompt: Cache) -> None:
        """Add a row with the keys and values of a prompt, which was read alone into layers of full attention."""
        row, length = len(self._lengths.of_rows), int(prompt.get_seq_length())
        while self._slots <= row:
            self._slots = max(1, 2 * self._slots)
        self._widen(length + 1)
        for layer, given in zip(self._slot_layers, prompt.layers, strict=True):
            assert isinstance(given, DynamicLayer) and given.keys is not None and given.values is not None
            layer.place(row, given.keys, given.values, self._slots, self._width)
        self._lengths.of_rows.append(length)

    def leave(self, row: int) -> None:
        """Remove a row; the last one takes its number."""
        last = len(self._lengths.of_rows) - 1
        length = self._lengths.of_rows.pop()
        if row == last:
            return
        for layer in self._slot_layers:
            layer.move(last, row, length)
        self._lengths.of_rows[row] = length

    def begin_step(self) -> tuple[Tensor, Tensor | None]:
        """Make room for a token a row; its positions [n, 1], and the mask [n, 1, 1, width] to add to the scores.

        There is none for rows of one length, which read every column.
        """
        lengths = self._lengths.of_rows
        width = max(lengths) + 1
        self._widen(width)
        keys = self._slot_layers[0].keys
        assert keys is not None
        for layer in self._slot_layers:
            layer.reserve(self._slots, self._width)
        columns = torch.tensor(lengths, device=keys.device)
        self._lengths.step = Step(columns[:, None, None, None], width)
        if min(lengths) == width - 1:
            return columns[:, None], None
        hidden = torch.arange(width, device=keys.device) > columns[:, None]
        mask = torch.zeros(hidden.shape, dtype=keys.dtype, device=keys.device)
        return columns[:, None], mask.masked_fill_(hidden, torch.finfo(keys.dtype).min)[:, None, None]

    def end_step(self) -> None:
        """Each row is a token longer."""
        self._lengths.step = None
        self._lengths.of_rows[:] = [length + 1 for length in self._lengths.of_rows]

    def _widen(self, needed: int) -> None:
        if needed > self._width:
            self._width = max(needed + SPARE, int(GROWTH * self._width))
