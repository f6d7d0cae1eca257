"""Small models with adapters, for the tests of lora, merge and adapter files."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from llm.config.schema import TuneConfig
from llm.model.lora import lora_layers

LORA = TuneConfig(kind="lora", rank=4, alpha=8.0)
LINEARS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
IDS = torch.arange(3, 27)[None]


def tiny_llava(tie: bool = False) -> LlavaForConditionalGeneration:
    text = LlamaConfig(
        vocab_size=60,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        tie_word_embeddings=tie,
    )
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14
    )
    config = LlavaConfig(text_config=text, vision_config=vision, image_token_index=59, tie_word_embeddings=tie)
    return LlavaForConditionalGeneration(config)


def shake(module: nn.Module) -> None:
    """Give B random values: a fresh adapter adds nothing, since B is zero."""
    for _, layer in lora_layers(module):
        layer.factors()["lora_B"].normal_(std=0.1)


def training(module: nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


@torch.no_grad()
def logits(llm: Any, ids: Tensor = IDS) -> Tensor:  # any causal LM
    found: Tensor = llm(input_ids=ids).logits
    return found
