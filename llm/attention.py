"""Attention for packs: matrix products run on the flat pack, attention on re-padded groups of similar spans.

Registered through transformers' `AttentionInterface`; no model is patched. A span is padded on the right, so a plain
one needs no mask, only `is_causal`; branches need one small mask a group, or one each where what they see before is
padded, on the left. On CUDA a varlen kernel takes the spans as they are, where one is installed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from llm.sequence import Exchange
from llm.spans import AttentionPlan, Group
from llm.varlen import HALF, attend, find_kernel

NAME = "eyegraft_packed"
FORECAST, CARD_FORECAST = "eyegraft_forecast", "eyegraft_card_forecast"  # what llm.forecast stands in their place
# Keys up to which plain products beat SDPA on a CPU (forward and backward, see _attend_short).
SHORT = 768
BLOCK = 128  # queries that are multiplied with their keys at a time: what lies behind a block is not computed


def packed_attention(
    module: nn.Module,
    query: Tensor,  # [1, heads, T, D]
    key: Tensor,  # [1, key_value_heads, T, D]
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    packed: AttentionPlan | Exchange | None = None,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """transformers' attention signature; `packed` arrives through the model's keyword arguments.

    Returns [1, T, heads, D]. Without a plan (a single unpadded sequence, with or without a cache) plain SDPA runs.
    """
    if packed is None:
        output: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling
        )
        return output
    if isinstance(packed, Exchange):
        heads = query.shape[1]
        query, key, value = (packed.whole(states, heads) for states in (query, key, value))
        attended, _ = packed_attention(module, query, key, value, attention_mask, scaling, dropout, packed.plan)
        return packed.own(attended), None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    kernel = find_kernel() if query.is_cuda and query.dtype in HALF and dropout == 0 else None
    if kernel is not None:
        return attend(query, key, value, packed.lengths, scale, kernel.call), None
    short = query.device.type in ("cpu", "meta") and dropout == 0  # meta: a forecast of what a CPU would hold
    outputs = [
        (_attend_short if short and group.keys <= SHORT else _attend)(query[0], key[0], value[0], group, scale, dropout)
        for group in packed.groups
    ]
    joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return joined.index_select(0, packed.order)[None], None


def _attend(query: Tensor, key: Tensor, value: Tensor, group: Group, scale: float, dropout: float) -> Tensor:
    """One batched SDPA call; returns [n * queries, heads, D]."""
    width, repeat = query.shape[-1], query.shape[0] // key.shape[0]
    queries = query.index_select(1, group.query_rows).view(-1, group.count, group.queries, width).transpose(0, 1)
    keys = _spread(key, group).repeat_interleave(repeat, 1)
    values = _spread(value, group).repeat_interleave(repeat, 1)
    mask = None if group.keys == group.queries else _visible(group, 0, group.queries)
    attended = scaled_dot_product_attention(
        queries, keys, values, mask, dropout_p=dropout, is_causal=mask is None, scale=scale
    )
    return attended.transpose(1, 2).reshape(group.count * group.queries, -1, width)


def _attend_short(query: Tensor, key: Tensor, value: Tensor, group: Group, scale: float, _: float) -> Tensor:
    """The same by plain batched products: on a CPU the backward of SDPA costs 2 to 5 times more on short spans.

    The query heads of one key-value head are stacked, so keys and values are never repeated. torch's softmax adds in
    fp32 inside and rounds once, as transformers' eager attention does, and keeps no fp32 weights. Measured forward +
    backward, 2 AMX cores, bf16, 9/3 heads of 64, about 2,000 rows in spans of 128, 300, 512 and 700: 14, 25, 38 and
    46 ms against SDPA's 47, 57, 72 and 69; equal at 1,024, where the weights kept begin to count.
    """
    heads, width, shared = query.shape[0], query.shape[-1], key.shape[0]
    queries = query.index_select(1, group.query_rows).view(shared, heads // shared, group.count, group.queries, width)
    queries = queries.permute(2, 0, 1, 3, 4)  # [n, kv_heads, repeat, queries, D]
    keys, values = (_spread(states, group).flatten(0, 1) for states in (key, value))  # [n * kv_heads, keys, D]
    prefix, blocks = group.keys - group.queries, []
    for start in range(0, group.queries, BLOCK):
        end = min(start + BLOCK, group.queries)
        seen = prefix + end
        visible = _visible(group, start, end)
        blocks.append(_attend_block(queries[:, :, :, start:end], keys[:, :seen], values[:, :seen], visible, scale))
    joined = blocks[0] if len(blocks) == 1 else torch.cat(blocks, 3)
    return joined.permute(0, 3, 1, 2, 4).reshape(group.count * group.queries, heads, width)


def _attend_block(queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor, scale: float) -> Tensor:
    """[n, kv_heads, repeat, queries, D], of as many keys as the last query may see."""
    count, shared, repeat, rows, width = queries.shape
    stacked = queries.reshape(count * shared, repeat * rows, width)
    hidden = torch.zeros(visible.shape, dtype=queries.dtype, device=queries.device)
    hidden = hidden.masked_fill_(~visible, float("-inf")).repeat(1, 1, repeat, 1)  # [1 or n, 1, repeat * rows, keys]
    if len(hidden) > 1:
        hidden = hidden.expand(count, shared, -1, -1).flatten(0, 1)
    else:
        hidden = hidden[0].expand(count * shared, -1, -1)
    scores = torch.baddbmm(hidden, stacked, keys.transpose(1, 2), alpha=scale)
    return torch.bmm(torch.softmax(scores, -1), values).view(count, shared, repeat, rows, width)


def _visible(group: Group, start: int, end: int) -> Tensor:
    """[1 or n, 1, queries, keys] of queries from `start` to `end`: each sees what is before its span, and itself."""
    device = group.query_rows.device
    keys = group.keys - group.queries + end
    causal = torch.ones(end - start, keys, dtype=torch.bool, device=device).tril(keys - (end - start))[None, None]
    if group.pads is None:
        return causal
    return causal & (torch.arange(keys, device=device) >= group.pads[:, None])[:, None, None]


def _spread(states: Tensor, group: Group) -> Tensor:
    """[kv_heads, T, D] -> [n, kv_heads, keys, D]: the group's rows."""
    rows = states.index_select(1, group.key_rows).view(-1, group.count, group.keys, states.shape[-1])
    return rows.transpose(0, 1)


def use_packed_attention(model: PreTrainedModel) -> None:
    """Make the model's text attention take an `AttentionPlan`. No mask function is registered: packs need none."""
    AttentionInterface.register(NAME, packed_attention)
    model.set_attn_implementation(NAME)


@contextmanager
def plain_attention(model: PreTrainedModel) -> Iterator[None]:
    """Inside, the model runs transformers' own SDPA with masks: what batched generation needs."""
    model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        model.set_attn_implementation(NAME)
