"""Where the heads of a pack's rows stand in tables [rows and heads, D], and who sees whom. Made once for all layers.

On a CPU they cost as much as the rows that they bring: a dozen calls a group, made anew in every layer, three times.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from llm.attention.layout import AttentionPlan, Group
from llm.machine_constants import ATTENTION_BLOCK, SOFTMAX_FILL, SOFTMAX_VECTOR_BYTES

BLOCK = ATTENTION_BLOCK.count
FILLED_DTYPES = (torch.bfloat16, torch.float16, torch.float32)


@dataclass(frozen=True, slots=True)
class Block:
    """Some queries of a group's spans, and the keys up to the last that one of them sees."""

    queries: slice
    keys: int
    hidden: Tensor  # [1 or n, 1, queries, keys], added to scores: 0, and -inf where unseen


@dataclass(frozen=True, slots=True)
class GroupPlaces:
    """Of one group's re-padded rows, span by span and head by head."""

    queries: Tensor  # [n * heads * queries]
    keys: Tensor  # [n * key_value_heads * width]
    width: int  # keys of a span, filled up behind with its last where they are multiplied in blocks
    before: Tensor | None  # [n * key_value_heads * prefix]: the keys before the spans' own; None: there are none
    padding: Tensor | None  # [p * heads]: where queries behind their span's end stand; None: there are none
    blocks: tuple[Block, ...]  # none where keys are too many for plain products

    @classmethod
    def of(cls, group: Group, heads: int, key_value_heads: int, plain: bool, dtype: torch.dtype) -> "GroupPlaces":
        """From the group's rows; `plain`: for products in blocks."""
        width = filled(group.keys, dtype) if plain else group.keys
        keys = group.key_rows.view(group.count, -1)
        keys = torch.cat([keys, keys[:, -1:].expand(-1, width - group.keys)], 1) if width > group.keys else keys
        padding = None if group.behind is None else _of_heads(group.behind, heads, group.queries)
        before = _by_head(keys[:, : group.prefix], key_value_heads) if group.prefix else None
        return cls(
            queries=_by_head(group.query_rows.view(group.count, -1), heads),
            keys=_by_head(keys, key_value_heads),
            width=width,
            before=before,
            padding=padding,
            blocks=tuple(_blocks(group, dtype)) if plain else (),
        )


@dataclass(frozen=True, slots=True)
class Places:
    """Of a pack."""

    groups: tuple[GroupPlaces, ...]
    back: Tensor  # [T * heads]: where a row's heads stand in the groups' tables, joined
    keys_back: Tensor  # the same of the spans' own keys
    nothing: Tensor  # [1, 1, 1]: what a product is added to when it is added to nothing

    @classmethod
    def of(cls, plan: AttentionPlan, query: Tensor, key: Tensor, short: int = 0) -> "Places":
        """For queries [T, heads, D] and keys [T, key_value_heads, D]; groups of `short` keys are multiplied plainly."""
        wanted = (query.shape[1], key.shape[1], query.dtype, short)
        if wanted not in plan.made:
            plan.made[wanted] = cls._make(plan, query, key, short)
        found: Places = plan.made[wanted]
        return found

    @classmethod
    def _make(cls, plan: AttentionPlan, query: Tensor, key: Tensor, short: int) -> "Places":
        heads, shared = query.shape[1], key.shape[1]
        return cls(
            groups=tuple(
                GroupPlaces.of(group, heads, shared, group.keys <= short, query.dtype) for group in plan.groups
            ),
            back=plan.places(heads),
            keys_back=plan.places(shared),
            nothing=query.new_zeros(1, 1, 1),
        )


def gathered_values(plan: AttentionPlan, heads: int, shared: int, width: int, dtype: torch.dtype) -> int:
    """Values of a layer's gathered queries, keys and values, heads `width` wide, and at most of attention's weights."""
    found = 0
    for group in plan.groups:
        keys = filled(group.keys, dtype)
        found += group.count * (heads * group.queries * (width + keys) + 2 * shared * keys * width)
    return found


def filled(keys: int, dtype: torch.dtype) -> int:
    """The number of keys, or of those in full vectors if that is little more."""
    vector = SOFTMAX_VECTOR_BYTES.count // dtype.itemsize if dtype in FILLED_DTYPES else 1
    full = -(-keys // vector) * vector
    return full if full <= keys * SOFTMAX_FILL.value else keys


def _blocks(group: Group, dtype: torch.dtype) -> Iterator[Block]:
    device = group.query_rows.device
    for start in range(0, group.queries, BLOCK):
        end = min(start + BLOCK, group.queries)
        columns = filled(group.prefix + end, dtype)
        each = torch.arange(columns, device=device)
        unseen = (each > group.prefix + torch.arange(start, end, device=device)[:, None])[None, None]
        if group.pads is not None:
            unseen = unseen | (each < group.pads[:, None])[:, None, None]
        hidden = torch.zeros(unseen.shape, dtype=dtype, device=device).masked_fill_(unseen, float("-inf"))
        yield Block(slice(start, end), columns, hidden)


def _of_heads(places: Tensor, heads: int, rows: int) -> Tensor:
    """[p] places in [n * rows] -> [p * heads]: those of all their heads in [n * heads * rows]."""
    each = torch.arange(heads, device=places.device)
    return ((places // rows * heads)[:, None] + each).mul_(rows).add_((places % rows)[:, None]).reshape(-1)


def _by_head(rows: Tensor, heads: int) -> Tensor:
    """[n, rows] -> [n * heads * rows]: where the heads of these rows of a pack stand in its table, span by span."""
    each = torch.arange(heads, device=rows.device)
    return (rows[:, None] * heads + each[:, None]).reshape(-1)
