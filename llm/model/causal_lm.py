"""Types for what training calls on transformers' models: their own annotations leave it out or are too wide."""

from typing import Protocol, cast

from torch import Tensor, nn
from transformers import PreTrainedModel


class DecoderOutput(Protocol):
    """Output of a decoder; `last_hidden_state` [B, T, H] has passed the final norm."""

    last_hidden_state: Tensor


class Decoder(Protocol):
    """A causal LM without its head, such as LlamaModel."""

    def __call__(
        self, *, use_cache: bool, input_ids: Tensor | None = None, inputs_embeds: Tensor | None = None, **packed: object
    ) -> DecoderOutput: ...


class CausalLMOutput(Protocol):
    """Output of a causal LM; `logits` [B, T, V]."""

    logits: Tensor


class Head(Protocol):
    """The LM head: hidden states [..., H] -> logits [..., V]."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, hidden: Tensor) -> Tensor: ...


class CausalLM(Protocol):
    """A decoder and its LM head, such as LlamaForCausalLM."""

    lm_head: nn.Linear

    def __call__(self, *, use_cache: bool, input_ids: Tensor, **options: object) -> CausalLMOutput: ...


def as_causal_lm(model: PreTrainedModel) -> CausalLM:
    """The same model, of which the caller knows that it is a causal LM."""
    return cast(CausalLM, model)


def as_decoder(model: nn.Module) -> Decoder:
    """The same module, of which the caller knows that it is the decoder of a causal LM."""
    return cast(Decoder, model)


def decoder_of(llm: PreTrainedModel) -> PreTrainedModel:
    """A causal LM's decoder."""
    return cast(PreTrainedModel, llm.base_model)


def head_of(llm: PreTrainedModel) -> nn.Linear:
    """A causal LM's head."""
    return cast(nn.Linear, llm.get_output_embeddings())


def logits_of(head: nn.Module, hidden: Tensor) -> Tensor:
    """[..., H] -> [..., V]."""
    return cast(Head, head)(hidden)
