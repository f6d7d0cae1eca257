"""Folders of the VLMs that recipes name, without weights: configs of the published sizes, and processors for them.

Sizes are those of the models' cards and reports: Qwen2.5-VL (arXiv 2502.13923, table 1), Qwen3-VL (arXiv 2511.21631),
InternVL3 (arXiv 2504.10479, table 1), SmolVLM (arXiv 2504.05299) and LLaVA-OneVision (arXiv 2408.03326). Tokenizers are
tiny: a forecast needs no words, and the vocabulary is the config's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import (
    GotOcr2ImageProcessor,
    Idefics3ImageProcessor,
    Idefics3Processor,
    InternVLConfig,
    InternVLProcessor,
    InternVLVideoProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    PreTrainedConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    SmolVLMConfig,
)

from tests.vlm.ready.families import chatml, tokenizer_with

_QWEN = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
_QWEN_TEMPLATE = chatml("<|vision_start|><|image_pad|><|vision_end|>")
_QWEN2_7B: dict[str, Any] = {
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32_768,
}
_SIGLIP: dict[str, Any] = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
}


@dataclass(frozen=True, slots=True)
class PublishedVlm:
    """A model by its layers; `write` makes its folder with so many layers of the language model and of the tower."""

    llm_layers: int
    tower_layers: int
    write: Callable[[Path, int, int], None]


def _qwen2_5_vl(folder: Path, llm: int, tower: int) -> None:
    tokenizer = tokenizer_with(*_QWEN)
    vision = {
        "depth": tower,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
        "fullatt_block_indexes": [7, 15, 23, 31],
        "window_size": 112,
    }
    rope = {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6}
    text = {**_QWEN2_7B, "num_hidden_layers": llm, "vocab_size": 152_064, "rope_parameters": rope}
    config = Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=False, **_ids(tokenizer, *_QWEN[2:])
    )
    images = Qwen2VLImageProcessor(size={"shortest_edge": 3136, "longest_edge": 12_845_056})
    _save(folder, config, Qwen2_5_VLProcessor(images, tokenizer, Qwen2VLVideoProcessor(), _QWEN_TEMPLATE))


def _qwen3_vl(folder: Path, llm: int, tower: int) -> None:
    tokenizer = tokenizer_with(*_QWEN)
    vision = {
        "depth": tower,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_heads": 16,
        "out_hidden_size": 4096,
        "patch_size": 16,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [8, 16, 24] if tower > 24 else [0, 1, 2],
    }
    text = {
        "hidden_size": 4096,
        "intermediate_size": 12_288,
        "num_hidden_layers": llm,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151_936,
        "rope_parameters": {
            "rope_type": "default",
            "mrope_section": [24, 20, 20],
            "mrope_interleaved": True,
            "rope_theta": 5e6,
        },
    }
    config = Qwen3VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=False, **_ids(tokenizer, *_QWEN[2:])
    )
    images = Qwen2VLImageProcessor(patch_size=16, size={"shortest_edge": 65_536, "longest_edge": 16_777_216})
    videos = Qwen3VLVideoProcessor(patch_size=16)
    _save(folder, config, Qwen3VLProcessor(images, tokenizer, videos, _QWEN_TEMPLATE))


def _internvl3(folder: Path, llm: int, tower: int) -> None:
    names = {"start_image_token": "<img>", "end_image_token": "</img>", "video_token": "<video>"}
    tokenizer = tokenizer_with(**names, context_image_token="<IMG_CONTEXT>")
    vision = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": tower,
        "num_attention_heads": 16,
        "image_size": [448, 448],
        "patch_size": [14, 14],
    }
    text = {**_QWEN2_7B, "model_type": "qwen2", "num_hidden_layers": llm, "vocab_size": 151_674}
    config = InternVLConfig(
        text_config={**text, "tie_word_embeddings": False},
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        tie_word_embeddings=False,
    )
    size = {"height": 448, "width": 448}
    images = GotOcr2ImageProcessor(size=size, crop_to_patches=True, min_patches=1, max_patches=12)
    videos = InternVLVideoProcessor(size=size)
    template = chatml("<IMG_CONTEXT>\n")
    _save(folder, config, InternVLProcessor(images, tokenizer, videos, 256, chat_template=template))


def _smolvlm2(folder: Path, llm: int, tower: int) -> None:
    marks = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = tokenizer_with("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *marks)
    text = {
        "model_type": "llama",
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": llm,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 49_280,
        "pad_token_id": 2,
    }
    config = SmolVLMConfig(
        text_config=text,
        vision_config={**_SIGLIP, "num_hidden_layers": tower},
        scale_factor=3,
        tie_word_embeddings=False,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    images = Idefics3ImageProcessor(size={"longest_edge": 1536}, max_image_size={"longest_edge": 384})
    _save(folder, config, Idefics3Processor(images, tokenizer, image_seq_len=81, chat_template=chatml("<image>")))


def _llava_onevision(folder: Path, llm: int, tower: int) -> None:
    tokenizer = tokenizer_with("<image>", "<video>")
    grid = [[384 * down, 384 * across] for down in range(1, 7) for across in range(1, 7)]
    text = {
        "model_type": "qwen2",
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": llm,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "vocab_size": 152_000,
        "tie_word_embeddings": True,
    }
    config = LlavaOnevisionConfig(
        text_config=text,
        vision_config={
            **_SIGLIP,
            "model_type": "siglip_vision_model",
            "num_hidden_layers": tower,
            "vision_use_head": False,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=grid,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        tie_word_embeddings=True,
    )
    size = {"height": 384, "width": 384}
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=grid),
        tokenizer,
        LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=729,
        vision_feature_select_strategy="full",
        chat_template=chatml("<image>\n"),
    )
    _save(folder, config, processor)


def _ids(tokenizer: Any, image: str, video: str) -> dict[str, Any]:
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    return dict(zip(names, tokenizer.convert_tokens_to_ids([*_QWEN[:2], image, video]), strict=True))


def _save(folder: Path, config: PreTrainedConfig, processor: Any) -> None:
    config.save_pretrained(folder)
    processor.save_pretrained(folder)


PUBLISHED_VLMS = {
    "Qwen/Qwen2.5-VL-7B-Instruct": PublishedVlm(28, 32, _qwen2_5_vl),
    "Qwen/Qwen3-VL-8B-Instruct": PublishedVlm(36, 27, _qwen3_vl),
    "OpenGVLab/InternVL3-8B-hf": PublishedVlm(28, 24, _internvl3),
    "HuggingFaceTB/SmolVLM2-2.2B-Instruct": PublishedVlm(24, 27, _smolvlm2),
    "llava-hf/llava-onevision-qwen2-0.5b-ov-hf": PublishedVlm(24, 26, _llava_onevision),
}
