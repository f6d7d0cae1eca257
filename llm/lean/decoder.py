"""Llama's layers with a backward pass of our own: fewer passes over memory, and less of it kept.

transformers' modules hold the weights, on a CPU as views of larger matrices (joined_weights.py). Of a layer are kept
its input, queries, keys and values, the sum behind attention, and gate and up. Norms and SwiGLU's product are made
again from these, which is cheap. A CPU also makes attention again (padded_groups.py), and gate and up of large packs;
small ones keep more (activation_budget.py). The last layer's feed-forward part runs at target positions only where
that saves much: no other output is read.

Why: in plain autograd a row of SmolLM2-135M keeps 10,100 values a layer with LoRA and 6,700 where the layer is frozen,
here 5,800 and 5,200.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu
from transformers import LlamaModel, MistralModel, PreTrainedModel, Qwen2Model
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from llm import distributed
from llm.attention.backend import TORCH, Backend
from llm.attention.interface import NAME
from llm.attention.layout import AttentionPlan
from llm.attention.ulysses import Exchange
from llm.config.schema import RunConfig
from llm.lean.activation_budget import plan_kept
from llm.lean.joined_weights import fan_of, join
from llm.lean.layer_ops import gated, gated_gradients, rms_gradient, rms_scale, rms_weight_gradient, rotated, scaled
from llm.lean.lora_linear import Fan, Table

# Share of a pack's rows up to which the last layer's feed-forward part runs at target rows alone on a CPU. Products of
# so many rows want kernels of their own, some 20 of 0.4 ms, which is more than a few spared rows are worth. Several
# processes always do it: DeepSpeed's buckets take gradients in the order they come in, which the graph decides, so the
# graph must be the same in all of them whatever rows each has.
TRIMMED = 0.5
FAMILY = (LlamaModel, MistralModel, Qwen2Model)  # Vicuna, InternLM2, SmolLM2 and Yi load as Llama


def wanted(config: RunConfig) -> bool:
    """Whether the recipe lets layers run here. Not those that are computed again or gathered by ZeRO-3."""
    return config.train.lean == "auto" and not config.train.recompute and config.parallel.zero != 3


def why_not(body: PreTrainedModel) -> str:
    """What keeps a decoder from running here, in a few words; empty when nothing does."""
    if type(body) not in FAMILY:
        return f"{type(body).__name__} is none of {', '.join(kind.__name__ for kind in FAMILY)}"
    config: Any = body.config
    if config.hidden_act != "silu" or config.attention_dropout:
        return "its activation is not silu, or attention has dropout"
    if config._attn_implementation != NAME:
        return f"attention is {config._attn_implementation}"
    return ""


def join_weights(model: nn.Module) -> None:
    """Put frozen weights of the decoders in `model` that read the same rows into one matrix each."""
    for body in model.modules():
        if isinstance(body, PreTrainedModel) and not why_not(body):
            decoder: Any = body
            join(group for layer in decoder.layers for group in groups_of(layer))


def groups_of(layer: Any) -> tuple[tuple[nn.Module, ...], ...]:
    """A layer's linears, those that read the same rows together."""
    attention, mlp = layer.self_attn, layer.mlp
    reads = (attention.q_proj, attention.k_proj, attention.v_proj)
    return reads, (attention.o_proj,), (mlp.gate_proj, mlp.up_proj), (mlp.down_proj,)


def decode(
    body: PreTrainedModel,
    embeds: Tensor,  # [T, H]
    position_ids: Tensor,  # [1, T]
    packed: AttentionPlan | Exchange,
    rows: Tensor,  # [K]
    backend: Backend = TORCH,
) -> Tensor:
    """[K, H]: what `body` gives at `rows`, normed."""
    decoder: Any = body
    cos, sin = (turn[0].unsqueeze(1) for turn in decoder.rotary_emb(embeds[None], position_ids))
    few = len(rows) <= len(embeds) * TRIMMED
    x, trimmed = embeds, few or embeds.device.type != "cpu" or distributed.ranks().world > 1
    kept = plan_kept(body, embeds, packed, backend)
    for left, module in zip(reversed(range(len(decoder.layers))), decoder.layers, strict=True):
        layer = Layer.of(module, len(x))
        query, key, value = _Before.apply(x, cos, sin, layer, *layer.trained_before)
        save = left < kept.attention
        attended = layer_attention(module.self_attn, query, key, value, packed, backend, save)
        if trimmed and not left:
            x, attended = x.index_select(0, rows), attended.index_select(0, rows)
            layer = Layer.of(module, len(x))
        x = _After.apply(x, attended, layer, left < kept.gates, left < kept.opened, *layer.trained_after)
    normed: Tensor = decoder.norm(x if trimmed else x.index_select(0, rows))
    return normed


@dataclass(frozen=True, slots=True)
class Layer:
    """A decoder layer's parts."""

    first_norm: Any  # the family's RMSNorm, as is the second
    reads: Fan  # queries, keys and values
    output: Fan
    second_norm: Any
    opens: Fan  # gate and up
    down: Fan
    width: int  # of a head

    @classmethod
    def of(cls, module: Any, count: int) -> "Layer":
        """A view of a family's decoder layer, for products of `count` rows."""
        reads, output, opens, down = (fan_of(count, *group) for group in groups_of(module))
        return cls(
            first_norm=module.input_layernorm,
            reads=reads,
            output=output,
            second_norm=module.post_attention_layernorm,
            opens=opens,
            down=down,
            width=module.self_attn.head_dim,
        )

    @property
    def trained_before(self) -> tuple[Tensor, ...]:
        """What trains before attention, in the order of its gradients."""
        return trained_of(self.first_norm) + self.reads.trained

    @property
    def trained_after(self) -> tuple[Tensor, ...]:
        """What trains behind attention, in the order of its gradients."""
        return trained_of(self.second_norm) + self.output.trained + self.opens.trained + self.down.trained


def trained_of(norm: Any) -> tuple[Tensor, ...]:
    """The norm's weight if it trains."""
    return (norm.weight,) if norm.weight.requires_grad else ()


class _Before(torch.autograd.Function):
    """x [T, H] -> rotated queries [T, heads, D] and keys, and values [T, key_value_heads, D]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, layer: Layer, *_: Tensor) -> tuple[Tensor, ...]:
        norm = layer.first_norm
        scale = rms_scale(x, norm.variance_epsilon)
        h = _normed(x, scale, norm, layer.reads)
        query, key, value = (part.unflatten(1, (-1, layer.width)) for part in layer.reads.rows(h))
        ctx.layer = layer
        ctx.save_for_backward(x, scale, cos, sin)
        return rotated(query, cos, sin), rotated(key, cos, sin), value.contiguous()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, cos, sin = ctx.saved_tensors
        layer: Layer = ctx.layer
        norm, reads = layer.first_norm, layer.reads
        gradient = reads.gradient_like(x)
        query, key, value = (part.unflatten(1, (-1, layer.width)) for part in reads.apart(gradient))
        rotated(grads[0], cos, sin, back=True, out=query)
        rotated(grads[1], cos, sin, back=True, out=key)
        value.copy_(grads[2])
        h = _normed(x, scale, norm, reads) if reads.trained else None
        if not (ctx.needs_input_grad[0] or norm.weight.requires_grad):
            return None, None, None, None, *reads.gradients(gradient, h)
        dh, found = reads.backward(gradient, h)
        if norm.weight.requires_grad:
            found = (rms_weight_gradient(dh, x, scale), *found)
        return rms_gradient(dh, x, scale, norm.weight), None, None, None, *found


class _After(torch.autograd.Function):
    """The layer's input x [T, H] and what attention gave [T, heads * D] -> the layer's output [T, H]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, attended: Tensor, layer: Layer, keeps_gates: bool, keeps_opened: bool, *_: Tensor
    ) -> Tensor:
        norm = layer.second_norm
        (middle,) = layer.output.rows(layer.output.holding(attended), onto=x)
        scale = rms_scale(middle, norm.variance_epsilon)
        gate, up = layer.opens.rows(_normed(middle, scale, norm, layer.opens))
        inner, opened = layer.down.input_like(middle), None
        if keeps_opened:
            opened = silu(gate)
            torch.mul(opened, up, out=inner.own)
        else:
            gated(gate, up, out=inner.own)
        (y,) = layer.down.rows(inner, onto=middle)
        ctx.layer = layer
        kept = attended if layer.output.trained else None
        ctx.save_for_backward(middle, scale, *((gate, up) if keeps_gates else (None, None)), opened, kept)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        middle, scale, gate, up, opened, attended = ctx.saved_tensors
        layer: Layer = ctx.layer
        norm, dy = layer.second_norm, grads[0]
        h = _normed(middle, scale, norm, layer.opens) if gate is None or layer.opens.trained else None
        if h is not None and gate is None:
            gate, up = layer.opens.rows(h)
        opened, inner = silu(gate) if opened is None else opened, None
        if layer.down.trained:
            inner = layer.down.input_like(middle)
            torch.mul(opened, up, out=inner.own)
        d_inner, of_down = layer.down.backward(layer.down.holding(dy), inner)
        del inner
        d_both = layer.opens.gradient_like(middle)
        gated_gradients(d_inner, gate, up, opened, layer.opens.apart(d_both))
        del d_inner, opened
        dh, of_both = layer.opens.backward(d_both, h)
        of_norm = (rms_weight_gradient(dh, middle, scale),) if norm.weight.requires_grad else ()
        d_middle = layer.output.gradient_like(middle)
        torch.add(rms_gradient(dh, middle, scale, norm.weight), dy, out=d_middle.own)
        kept = None if attended is None else layer.output.holding(attended)
        d_attended, of_output = layer.output.backward(d_middle, kept)
        return d_middle.own, d_attended, None, None, None, *of_norm, *of_output, *of_both, *of_down


def _normed(x: Tensor, scale: Tensor, norm: Any, fan: Fan) -> Table:
    """RMSNorm's output in a table of the fan that reads it."""
    table = fan.input_like(x)
    scaled(x, scale, norm.weight, out=table.own)
    return table


def layer_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packed: AttentionPlan | Exchange,
    backend: Backend,
    save: bool,
) -> Tensor:
    """[T, heads * D], by the attention that transformers' config names."""
    attention = ALL_ATTENTION_FUNCTIONS[module.config._attn_implementation]
    by_head = [states.transpose(0, 1)[None] for states in (query, key, value)]
    options = {"scaling": module.scaling, "packed": packed, "backend": backend, "save": save}
    attended: Tensor = attention(module, *by_head, None, **options)[0]
    return attended.reshape(len(query), -1)
