"""Index tensors that gather a pack's heads into padded groups and scatter the results back; made once for all layers.

On a CPU, making them costs as much as the copies they are for: a dozen calls a group, which each layer would otherwise
repeat three times.
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
    """A slice of the queries of a group's spans, and the keys up to the last one that any of them attends to."""

    queries: slice
    keys: int
    mask: Tensor  # [1 or n, 1, queries, keys], added to scores: 0, or -inf where a query does not attend to a key


@dataclass(frozen=True, slots=True)
class GroupIndex:
    """Indices of one group's padded queries and keys, span by span and head by head.

    `queries`, `keys` and `before` point into tables [T * heads, D] of the pack, `padding` into the group's own table.
    """

    queries: Tensor  # [n * heads * queries]
    keys: Tensor  # [n * key_value_heads * width]
    width: int  # keys of a span; for products in blocks, padded on the right to full vectors with its last key
    before: Tensor | None  # [n * key_value_heads * prefix]: the keys before the spans' own; None: there are none
    padding: Tensor | None  # [p * heads]: the queries that only pad a span; None: there are none
    blocks: tuple[Block, ...]  # empty for a group that runs through SDPA

    @classmethod
    def of(cls, group: Group, heads: int, key_value_heads: int, plain: bool, dtype: torch.dtype) -> "GroupIndex":
        """Make the indices of a group; `plain`: for plain products, in blocks."""
        width = padded_width(group.keys, dtype) if plain else group.keys
        keys = group.key_positions.view(group.count, -1)
        keys = torch.cat([keys, keys[:, -1:].expand(-1, width - group.keys)], 1) if width > group.keys else keys
        padding = None if group.query_padding is None else _of_heads(group.query_padding, heads, group.queries)
        before = _by_head(keys[:, : group.prefix], key_value_heads) if group.prefix else None
        return cls(
            queries=_by_head(group.query_positions.view(group.count, -1), heads),
            keys=_by_head(keys, key_value_heads),
            width=width,
            before=before,
            padding=padding,
            blocks=tuple(_blocks(group, dtype)) if plain else (),
        )


@dataclass(frozen=True, slots=True)
class GatherIndex:
    """The indices of all groups of a pack, and those of the way back."""

    groups: tuple[GroupIndex, ...]
    outputs: Tensor  # [T * heads]: each position's heads in the concatenated tables of the groups' outputs
    own_keys: Tensor  # [T * key_value_heads]: the same in the tables of the spans' own keys
    zero: Tensor  # [1, 1, 1]: the addend of a product without one

    @classmethod
    def of(cls, plan: AttentionPlan, query: Tensor, key: Tensor, short: int = 0) -> "GatherIndex":
        """For queries [T, heads, D] and keys [T, key_value_heads, D], from the plan's cache if it has them.

        Groups of at most `short` keys are indexed for plain products.
        """
        signature = (query.shape[1], key.shape[1], query.dtype, short)
        if signature not in plan.cache:
            plan.cache[signature] = cls._make(plan, query, key, short)
        found: GatherIndex = plan.cache[signature]
        return found

    @classmethod
    def _make(cls, plan: AttentionPlan, query: Tensor, key: Tensor, short: int) -> "GatherIndex":
        heads, key_value_heads = query.shape[1], key.shape[1]
        return cls(
            groups=tuple(
                GroupIndex.of(group, heads, key_value_heads, group.keys <= short, query.dtype) for group in plan.groups
            ),
            outputs=plan.scatter_index(heads),
            own_keys=plan.scatter_index(key_value_heads),
            zero=query.new_zeros(1, 1, 1),
        )


def gathered_values(plan: AttentionPlan, heads: int, key_value_heads: int, width: int, dtype: torch.dtype) -> int:
    """An upper bound of the values in one layer's gathered queries, keys, values and attention weights.

    `width` is that of a head.
    """
    total = 0
    for group in plan.groups:
        keys = padded_width(group.keys, dtype)
        total += group.count * (heads * group.queries * (width + keys) + 2 * key_value_heads * keys * width)
    return total


def padded_width(keys: int, dtype: torch.dtype) -> int:
    """`keys` rounded up to full vectors of the softmax kernel, or unchanged where that adds too many."""
    vector = SOFTMAX_VECTOR_BYTES.count // dtype.itemsize if dtype in FILLED_DTYPES else 1
    full = -(-keys // vector) * vector
    return full if full <= keys * SOFTMAX_FILL.value else keys


def _blocks(group: Group, dtype: torch.dtype) -> Iterator[Block]:
    device = group.query_positions.device
    for start in range(0, group.queries, BLOCK):
        end = min(start + BLOCK, group.queries)
        columns = padded_width(group.prefix + end, dtype)
        each = torch.arange(columns, device=device)
        masked = (each > group.prefix + torch.arange(start, end, device=device)[:, None])[None, None]
        if group.left_padding is not None:
            masked = masked | (each < group.left_padding[:, None])[:, None, None]
        mask = torch.zeros(masked.shape, dtype=dtype, device=device).masked_fill_(masked, float("-inf"))
        yield Block(slice(start, end), columns, mask)


def _of_heads(index: Tensor, heads: int, length: int) -> Tensor:
    """[p] indices into [n * length] -> [p * heads] indices of all their heads into [n * heads * length]."""
    each = torch.arange(heads, device=index.device)
    return ((index // length * heads)[:, None] + each).mul_(length).add_((index % length)[:, None]).reshape(-1)


def _by_head(positions: Tensor, heads: int) -> Tensor:
    """[n, length] positions -> [n * heads * length] indices into a table [T * heads, D], span by span, head by head."""
    each = torch.arange(heads, device=positions.device)
    return (positions[:, None] * heads + each[:, None]).reshape(-1)
