"""Llama's decoder layers with a backward pass of our own: fewer passes over memory, and fewer saved activations.

transformers' modules hold the weights. A layer saves its input, queries, keys and values, the residual sum after
attention, and gate and up. Norms and SwiGLU's product are recomputed from these, which is cheap. A CPU also recomputes
attention (llm/attention/padded_groups.py), and gate and up of large packs; for small ones it saves more
(activation_budget.py).
The last layer's feed-forward part runs at target positions only where that saves much: other outputs are not used.

Why: in plain autograd a token of SmolLM2-135M saves 10,100 values a layer with LoRA and 6,700 where the layer is
frozen, here 5,800 and 5,200.
"""

from dataclasses import dataclass
from typing import Any, Protocol, cast

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
from llm.autograd import Context
from llm.config.schema import Lean, RunConfig
from llm.lean.activation_budget import plan_activations
from llm.lean.layer_ops import gated, gated_grads, rms_gradient, rms_scale, rms_weight_gradient, rotated, scaled
from llm.lean.lora_linear import LinearGroup
from llm.machine_constants import TRIMMED_SHARE

FAMILY = (LlamaModel, MistralModel, Qwen2Model)  # Vicuna, InternLM2, SmolLM2 and Yi load as Llama


class Norm(Protocol):
    """The family's RMSNorm."""

    weight: Tensor
    variance_epsilon: float


class Attention(Protocol):
    """The family's self-attention."""

    q_proj: nn.Module
    k_proj: nn.Module
    v_proj: nn.Module
    o_proj: nn.Module
    head_dim: int
    scaling: float


class Mlp(Protocol):
    """The family's feed-forward part."""

    gate_proj: nn.Module
    up_proj: nn.Module
    down_proj: nn.Module


class DecoderLayer(Protocol):
    """The family's decoder layer."""

    input_layernorm: Norm
    self_attn: Attention
    post_attention_layernorm: Norm
    mlp: Mlp


def lean_mode(config: RunConfig) -> Lean:
    """`train.lean`; `auto` is off with activation checkpointing, and under ZeRO-3, which gathers weights by module.

    With these the schema refuses `on`.
    """
    return "off" if config.train.recompute or config.parallel.zero == 3 else config.train.lean


def runs_lean(mode: Lean, body: PreTrainedModel, device_type: str) -> bool:
    """Whether `run_decoder` runs this decoder on a device of this type."""
    return mode_on(mode, device_type) == "on" and not unsupported(body)


def mode_on(mode: Lean, device_type: str) -> Lean:
    """Resolve a mode for a device type: "on" or "off"; "auto" is on for a CPU."""
    return "on" if mode == "on" or (mode == "auto" and device_type == "cpu") else "off"


def unsupported(body: PreTrainedModel) -> str:
    """Why `run_decoder` does not support a decoder, as a phrase for logs; empty if it does."""
    if type(body) not in FAMILY:
        return f"{type(body).__name__} is not one of {', '.join(kind.__name__ for kind in FAMILY)}"
    config: Any = body.config
    if config.hidden_act != "silu" or config.attention_dropout:
        return "its activation is not silu, or attention has dropout"
    if config._attn_implementation != NAME:
        return f"attention is {config._attn_implementation}"
    return ""


def advance_dropout_seeds(model: nn.Module) -> None:
    """Draw one unused dropout seed for each adapted linear of the decoders in `model`.

    A recipe's seed fixes its dropout masks in every release: those of the first step come after these draws.
    """
    for body in model.modules():
        if isinstance(body, PreTrainedModel) and not unsupported(body):
            for layer in cast(Any, body).layers:
                Layer.of(layer)


def run_decoder(
    body: PreTrainedModel,
    embeds: Tensor,  # [T, H]
    position_ids: Tensor,  # [1, T]
    packed: AttentionPlan | Exchange,
    target_indices: Tensor,  # [K]
    backend: Backend = TORCH,
) -> Tensor:
    """[K, H]: the output of `body` at the target positions, after its final norm."""
    decoder: Any = body
    cos, sin = (angles[0].unsqueeze(1) for angles in decoder.rotary_emb(embeds[None], position_ids))
    few = len(target_indices) <= len(embeds) * TRIMMED_SHARE.value
    # Several processes always trim: DeepSpeed fills its buckets in the order in which gradients arrive, which depends
    # on the graph, so the graph must be the same in all of them however many targets each has.
    x, trimmed = embeds, few or embeds.device.type != "cpu" or distributed.ranks().world > 1
    budget = plan_activations(body, embeds, packed, backend)
    for left, module in zip(reversed(range(len(decoder.layers))), decoder.layers, strict=True):
        layer = Layer.of(module)
        query, key, value = _BeforeAttention.apply(x, cos, sin, layer, *layer.trained_before)
        attended = _attend(module.self_attn, (query, key, value), packed, backend, left < budget.attention)
        if trimmed and not left:
            x, attended = x.index_select(0, target_indices), attended.index_select(0, target_indices)
            layer = Layer.of(module)  # with dropout seeds of its own
        saved = (left < budget.gate_up, left < budget.silu)
        x = _AfterAttention.apply(x, attended, layer, *saved, *layer.trained_after)
    normed: Tensor = decoder.norm(x if trimmed else x.index_select(0, target_indices))
    return normed


def _attend(
    module: Any,  # the layer's attention, as transformers' functions take it
    states: tuple[Tensor, Tensor, Tensor],
    packed: AttentionPlan | Exchange,
    backend: Backend,
    save: bool,
) -> Tensor:
    """[T, heads * D], by the attention function that the model's config names."""
    attention = ALL_ATTENTION_FUNCTIONS[module.config._attn_implementation]
    by_head = [part.transpose(0, 1)[None] for part in states]
    options = {"scaling": module.scaling, "packed": packed, "backend": backend, "save": save}
    attended: Tensor = attention(module, *by_head, None, **options)[0]
    return attended.reshape(len(states[0]), -1)


@dataclass(frozen=True, slots=True)
class Layer:
    """A view of a decoder layer for one forward pass and its backward pass."""

    first_norm: Norm
    qkv: LinearGroup
    output: LinearGroup
    second_norm: Norm
    gate_up: LinearGroup
    down: LinearGroup
    head_dim: int

    @classmethod
    def of(cls, module: DecoderLayer) -> "Layer":
        """A view of a layer, with newly drawn dropout seeds."""
        attention, mlp = module.self_attn, module.mlp
        return cls(
            first_norm=module.input_layernorm,
            qkv=LinearGroup.of(attention.q_proj, attention.k_proj, attention.v_proj),
            output=LinearGroup.of(attention.o_proj),
            second_norm=module.post_attention_layernorm,
            gate_up=LinearGroup.of(mlp.gate_proj, mlp.up_proj),
            down=LinearGroup.of(mlp.down_proj),
            head_dim=attention.head_dim,
        )

    @property
    def trained_before(self) -> tuple[Tensor, ...]:
        """The trained parameters before attention, in the order of their gradients."""
        return _trained_of(self.first_norm) + self.qkv.trained

    @property
    def trained_after(self) -> tuple[Tensor, ...]:
        """The trained parameters after attention, in the order of their gradients."""
        return _trained_of(self.second_norm) + self.output.trained + self.gate_up.trained + self.down.trained


def _trained_of(norm: Norm) -> tuple[Tensor, ...]:
    return (norm.weight,) if norm.weight.requires_grad else ()


class LayerContext(Context, Protocol):
    """A context that holds the layer for the backward pass."""

    layer: Layer


class _BeforeAttention(torch.autograd.Function):
    """x [T, H] -> rotated queries [T, heads, D] and keys, and values [T, key_value_heads, D]."""

    @staticmethod
    def forward(ctx: LayerContext, x: Tensor, cos: Tensor, sin: Tensor, layer: Layer, *_: Tensor) -> tuple[Tensor, ...]:
        norm = layer.first_norm
        scale = rms_scale(x, norm.variance_epsilon)
        h = scaled(x, scale, norm.weight)
        query, key, value = (part.unflatten(1, (-1, layer.head_dim)) for part in layer.qkv.outputs(h))
        ctx.layer = layer
        ctx.save_for_backward(x, scale, cos, sin)
        return rotated(query, cos, sin), rotated(key, cos, sin), value

    @staticmethod
    def backward(ctx: LayerContext, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, cos, sin = ctx.saved_tensors
        layer = ctx.layer
        norm, qkv = layer.first_norm, layer.qkv
        of_query, of_key = (rotated(grad, cos, sin, back=True) for grad in grads[:2])
        linear_grads = [grad.reshape(len(x), -1) for grad in (of_query, of_key, grads[2])]
        h = scaled(x, scale, norm.weight) if qkv.trained else None
        if not (ctx.needs_input_grad[0] or norm.weight.requires_grad):
            return None, None, None, None, *qkv.parameter_grads(linear_grads, h)
        dh, found = qkv.backward(linear_grads, h)
        if norm.weight.requires_grad:
            found = (rms_weight_gradient(dh, x, scale), *found)
        return rms_gradient(dh, x, scale, norm.weight), None, None, None, *found


class _AfterAttention(torch.autograd.Function):
    """The layer's input x [T, H] and attention's output [T, heads * D] -> the layer's output [T, H]."""

    @staticmethod
    def forward(
        ctx: LayerContext, x: Tensor, attended: Tensor, layer: Layer, save_gate_up: bool, save_silu: bool, *_: Tensor
    ) -> Tensor:
        norm = layer.second_norm
        (middle,) = layer.output.outputs(attended, residual=x)
        scale = rms_scale(middle, norm.variance_epsilon)
        gate, up = layer.gate_up.outputs(scaled(middle, scale, norm.weight))
        silu_gate = silu(gate) if save_silu else None
        inner = gated(gate, up) if silu_gate is None else silu_gate * up
        (y,) = layer.down.outputs(inner, residual=middle)
        ctx.layer = layer
        saved_gate_up = (gate, up) if save_gate_up else (None, None)
        ctx.save_for_backward(middle, scale, *saved_gate_up, silu_gate, attended if layer.output.trained else None)
        return y

    @staticmethod
    def backward(ctx: LayerContext, *grads: Tensor) -> tuple[Tensor | None, ...]:
        middle, scale, gate, up, silu_gate, attended = ctx.saved_tensors
        layer = ctx.layer
        norm, dy = layer.second_norm, grads[0]
        h = scaled(middle, scale, norm.weight) if gate is None or layer.gate_up.trained else None
        if gate is None and h is not None:
            gate, up = layer.gate_up.outputs(h)
        silu_gate = silu(gate) if silu_gate is None else silu_gate
        inner = silu_gate * up if layer.down.trained else None
        d_inner, of_down = layer.down.backward((dy,), inner)
        del inner
        d_gate_up = gated_grads(d_inner, gate, up, silu_gate)
        del d_inner, silu_gate
        dh, of_gate_up = layer.gate_up.backward(d_gate_up, h)
        of_norm = (rms_weight_gradient(dh, middle, scale),) if norm.weight.requires_grad else ()
        d_middle = rms_gradient(dh, middle, scale, norm.weight).add_(dy)
        d_attended, of_output = layer.output.backward((d_middle,), attended)
        return d_middle, d_attended, None, None, None, *of_norm, *of_output, *of_gate_up, *of_down
