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
from llm.lean_linear import Fan
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
    reads: Fan  # queries, keys and values
    output: Fan
    second_norm: Any
    opens: Fan  # gate and up
    down: Fan
    width: int  # of a head

    @classmethod
    def of(cls, module: Any) -> "Layer":
        """A view of a family's decoder layer."""
        attention, mlp = module.self_attn, module.mlp
        return cls(
            first_norm=module.input_layernorm,
            reads=Fan.of(attention.q_proj, attention.k_proj, attention.v_proj),
            output=Fan.of(attention.o_proj),
            second_norm=module.post_attention_layernorm,
            opens=Fan.of(mlp.gate_proj, mlp.up_proj),
            down=Fan.of(mlp.down_proj),
            width=attention.head_dim,
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
        h = scaled(x, scale, norm.weight)
        query, key, value = (part.view(len(h), -1, layer.width) for part in layer.reads.rows(h))
        ctx.layer = layer
        ctx.save_for_backward(x, scale, cos, sin)
        return rotated(query, cos, sin), rotated(key, cos, sin), value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, cos, sin = ctx.saved_tensors
        layer: Layer = ctx.layer
        norm, reads = layer.first_norm, layer.reads
        unturned = (rotated(grads[0], cos, sin, back=True), rotated(grads[1], cos, sin, back=True), grads[2])
        flat = [grad.reshape(len(x), -1) for grad in unturned]
        h = scaled(x, scale, norm.weight) if reads.trained else None
        if not (ctx.needs_input_grad[0] or norm.weight.requires_grad):
            return None, None, None, None, *reads.gradients(flat, h)
        dh, found = reads.backward(flat, h)
        if norm.weight.requires_grad:
            found = (rms_weight_gradient(dh, x, scale), *found)
        return rms_gradient(dh, x, scale, norm.weight), None, None, None, *found


class _After(torch.autograd.Function):
    """The layer's input x [T, H] and what attention gave [T, heads * D] -> the layer's output [T, H]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, attended: Tensor, layer: Layer, *_: Tensor) -> Tensor:
        norm = layer.second_norm
        (middle,) = layer.output.rows(attended, onto=x)
        scale = rms_scale(middle, norm.variance_epsilon)
        gate, up = layer.opens.rows(scaled(middle, scale, norm.weight))
        (y,) = layer.down.rows(gated(gate, up), onto=middle)
        ctx.layer = layer
        kept = attended if layer.output.trained else None
        ctx.save_for_backward(middle, scale, gate, up, kept)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        middle, scale, gate, up, attended = ctx.saved_tensors
        layer: Layer = ctx.layer
        norm, dy = layer.second_norm, grads[0]
        opened = silu(gate)
        inner = torch.mul(opened, up) if layer.down.trained else None
        d_inner, of_down = layer.down.backward((dy,), inner)
        del inner
        d_both = gated_gradients(d_inner, gate, up, opened)
        h = scaled(middle, scale, norm.weight) if layer.opens.trained else None
        dh, of_both = layer.opens.backward(d_both, h)
        of_norm = (rms_weight_gradient(dh, middle, scale),) if norm.weight.requires_grad else ()
        d_middle = rms_gradient(dh, middle, scale, norm.weight).add_(dy)
        d_attended, of_output = layer.output.backward((d_middle,), attended)
        return d_middle, d_attended, None, *of_norm, *of_output, *of_both, *of_down


def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, packed: AttentionPlan | Exchange) -> Tensor:
    """[T, heads * D], by the attention that transformers' config names."""
    attention = ALL_ATTENTION_FUNCTIONS[module.config._attn_implementation]
    by_head = [states.transpose(0, 1)[None] for states in (query, key, value)]
    attended: Tensor = attention(module, *by_head, None, scaling=module.scaling, packed=packed)[0]
    return attended.reshape(len(query), -1)
