"""Llama's layers with a backward pass of our own: fewer passes over memory, and less of it kept.

transformers' modules hold the weights; nothing in them is replaced. Of a layer are kept its input, queries, keys and
values, the sum behind attention, and gate and up. Norms and SwiGLU's product are made again from these, which is cheap;
so is attention on a CPU (llm/regrouped.py). The last layer's feed-forward part runs at target rows only: nobody reads
its other rows.

Why: in plain autograd a row of SmolLM2-135M keeps 10,100 values a layer with LoRA and 6,700 where the layer is frozen,
here 5,800 and 5,200.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu
from transformers import LlamaModel, MistralModel, PreTrainedModel, Qwen2Model
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from llm.attention import CARD_FORECAST, FORECAST, NAME
from llm.config import RunConfig
from llm.lean_linear import Gradients, Linear
from llm.lean_ops import gated, gated_gradients, rms_gradient, rms_scale, rms_weight_gradient, rotated, scaled
from llm.sequence import Exchange
from llm.spans import AttentionPlan

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
    if config._attn_implementation not in (NAME, FORECAST, CARD_FORECAST):
        return f"attention is {config._attn_implementation}"
    return ""


def decode(
    body: PreTrainedModel,
    embeds: Tensor,  # [T, H]
    position_ids: Tensor,  # [1, T]
    packed: AttentionPlan | Exchange,
    rows: Tensor,  # [K]
) -> Tensor:
    """[K, H]: what `body` gives at `rows`, normed."""
    decoder: Any = body
    cos, sin = (turn[0].unsqueeze(1) for turn in decoder.rotary_emb(embeds[None], position_ids))
    x = embeds
    for number, module in enumerate(decoder.layers, 1):
        layer = Layer.of(module)
        query, key, value = _Before.apply(x, cos, sin, layer, *layer.trained_before)
        attended = attend(module.self_attn, query, key, value, packed)
        if number == len(decoder.layers):
            x, attended = x.index_select(0, rows), attended.index_select(0, rows)
        x = _After.apply(x, attended, layer, *layer.trained_after)
    normed: Tensor = decoder.norm(x)
    return normed


@dataclass(frozen=True, slots=True)
class Layer:
    """A decoder layer's parts."""

    first_norm: Any  # the family's RMSNorm, as is the second
    query: Linear
    key: Linear
    value: Linear
    output: Linear
    second_norm: Any
    gate: Linear
    up: Linear
    down: Linear
    width: int  # of a head

    @classmethod
    def of(cls, module: Any) -> "Layer":
        """A view of a family's decoder layer."""
        attention, mlp = module.self_attn, module.mlp
        return cls(
            first_norm=module.input_layernorm,
            query=Linear.of(attention.q_proj),
            key=Linear.of(attention.k_proj),
            value=Linear.of(attention.v_proj),
            output=Linear.of(attention.o_proj),
            second_norm=module.post_attention_layernorm,
            gate=Linear.of(mlp.gate_proj),
            up=Linear.of(mlp.up_proj),
            down=Linear.of(mlp.down_proj),
            width=attention.head_dim,
        )

    @property
    def trained_before(self) -> tuple[Tensor, ...]:
        """What trains before attention, in the order of its gradients."""
        return trained_of(self.first_norm) + self.query.trained + self.key.trained + self.value.trained

    @property
    def trained_after(self) -> tuple[Tensor, ...]:
        """What trains behind attention, in the order of its gradients."""
        return (
            *trained_of(self.second_norm),
            *self.output.trained,
            *self.gate.trained,
            *self.up.trained,
            *self.down.trained,
        )


def trained_of(norm: Any) -> tuple[Tensor, ...]:
    """The norm's weight if it trains."""
    return (norm.weight,) if norm.weight.requires_grad else ()


class _Before(torch.autograd.Function):
    """x [T, H] -> rotated queries [T, heads, D] and keys, and values [T, key_value_heads, D]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, layer: Layer, *_: Tensor) -> tuple[Tensor, ...]:
        norm = layer.first_norm
        scale = rms_scale(x, norm.variance_epsilon)
        h = scaled(x, scale, norm.weight)
        heads = [part.rows(h).view(len(h), -1, layer.width) for part in (layer.query, layer.key, layer.value)]
        ctx.layer = layer
        ctx.save_for_backward(x, scale, cos, sin)
        return rotated(heads[0], cos, sin), rotated(heads[1], cos, sin), heads[2]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, cos, sin = ctx.saved_tensors
        layer: Layer = ctx.layer
        norm, parts = layer.first_norm, (layer.query, layer.key, layer.value)
        unturned = (rotated(grads[0], cos, sin, back=True), rotated(grads[1], cos, sin, back=True), grads[2])
        found: Gradients = ()
        flat = [grad.reshape(len(x), -1) for grad in unturned]
        if any(part.trained for part in parts):
            h = scaled(x, scale, norm.weight)
            found = tuple(grad for part, dy in zip(parts, flat, strict=True) for grad in part.gradients(dy, h))
        if not (ctx.needs_input_grad[0] or norm.weight.requires_grad):
            return None, None, None, None, *found
        dh = parts[0].input_gradient(flat[0])
        for part, dy in zip(parts[1:], flat[1:], strict=True):
            dh = part.input_gradient(dy, onto=dh)
        if norm.weight.requires_grad:
            found = (rms_weight_gradient(dh, x, scale), *found)
        return rms_gradient(dh, x, scale, norm.weight), None, None, None, *found


class _After(torch.autograd.Function):
    """The layer's input x [T, H] and what attention gave [T, heads * D] -> the layer's output [T, H]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, attended: Tensor, layer: Layer, *_: Tensor) -> Tensor:
        norm = layer.second_norm
        middle = layer.output.rows(attended, onto=x)
        scale = rms_scale(middle, norm.variance_epsilon)
        h = scaled(middle, scale, norm.weight)
        gate, up = layer.gate.rows(h), layer.up.rows(h)
        ctx.layer = layer
        ctx.save_for_backward(middle, scale, gate, up, *([attended] if layer.output.trained else []))
        return layer.down.rows(gated(gate, up), onto=middle)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        middle, scale, gate, up, *rest = ctx.saved_tensors
        layer: Layer = ctx.layer
        norm, dy = layer.second_norm, grads[0]
        opened = silu(gate)
        of_down = layer.down.gradients(dy, torch.mul(opened, up)) if layer.down.trained else ()
        d_gate, d_up = gated_gradients(layer.down.input_gradient(dy), gate, up, opened)
        of_both: Gradients = ()
        if layer.gate.trained or layer.up.trained:
            h = scaled(middle, scale, norm.weight)
            of_both = layer.gate.gradients(d_gate, h) + layer.up.gradients(d_up, h)
        dh = layer.up.input_gradient(d_up, onto=layer.gate.input_gradient(d_gate))
        of_norm = (rms_weight_gradient(dh, middle, scale),) if norm.weight.requires_grad else ()
        d_middle = rms_gradient(dh, middle, scale, norm.weight).add_(dy)
        of_output = layer.output.gradients(d_middle, rest[0]) if rest else ()
        return d_middle, layer.output.input_gradient(d_middle), None, *of_norm, *of_output, *of_both, *of_down


def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, packed: AttentionPlan | Exchange) -> Tensor:
    """[T, heads * D], by the attention that transformers' config names."""
    attention = ALL_ATTENTION_FUNCTIONS[module.config._attn_implementation]
    by_head = [states.transpose(0, 1)[None] for states in (query, key, value)]
    attended: Tensor = attention(module, *by_head, None, scaling=module.scaling, packed=packed)[0]
    return attended.reshape(len(query), -1)
