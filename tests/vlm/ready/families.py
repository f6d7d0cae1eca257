"""Tiny random models of ten families of VLMs with their processors, made from configs in code and saved as folders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from transformers import (
    CLIPImageProcessor,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessor,
    Gemma3Processor,
    GotOcr2ImageProcessor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    Idefics3Processor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    LlavaProcessor,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    SiglipImageProcessor,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

from tests.vlm.conftest import make_tokenizer, randomise

CLIP_TOWER: dict[str, Any] = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
    "projection_dim": 32,
}
SIGLIP_TOWER = {**CLIP_TOWER, "model_type": "siglip_vision_model", "vision_use_head": False}
TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 320,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "pad_token_id": 258,
}

# One turn as the families write it: content is a list of parts.
_PART_LOOP = (
    "{%% for part in message['content'] %%}{%% if part['type'] == 'image' %%}%s"
    "{%% elif part['type'] == 'text' %%}{{ part['text'] }}{%% endif %%}{%% endfor %%}"
)


def chatml(image: str) -> str:
    """A chatml template of content parts that writes `image` for an image."""
    return (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
        + _PART_LOOP % image
        + "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )


def tokenizer_with(*tokens: str, **named: str) -> PreTrainedTokenizerFast:
    """The bytes' tokenizer with special tokens; `named` are those that processors look for by name."""
    tokenizer = make_tokenizer()
    words = [AddedToken(token, special=True, normalized=False) for token in (*tokens, *named.values())]
    tokenizer.add_tokens(words, special_tokens=True)
    if named:
        tokenizer._set_model_specific_special_tokens(named)
    return tokenizer


def llava(folder: Path) -> PreTrainedModel:
    """LLaVA 1.5: one square image, its features one by one."""
    tokenizer = tokenizer_with("<image>")
    config = LlavaConfig(
        text_config={**TEXT, "model_type": "llama"},
        vision_config=CLIP_TOWER,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor = LlavaProcessor(
        images, tokenizer, 8, "default", chat_template=chatml("<image>\n"), num_additional_image_tokens=1
    )
    return _saved(LlavaForConditionalGeneration(config), processor, folder)


_QWEN = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
_QWEN_TEMPLATE = chatml("<|vision_start|><|image_pad|><|vision_end|>")
_QWEN_ROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}


def _qwen_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    return dict(zip(names, tokenizer.convert_tokens_to_ids(list(_QWEN)), strict=True))


def qwen2_vl(folder: Path) -> PreTrainedModel:
    """Qwen2-VL: any resolution, positions in time, height and width."""
    tokenizer = tokenizer_with(*_QWEN)
    tower = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2, "num_heads": 4, "patch_size": 4}
    config = Qwen2VLConfig(
        text_config={**TEXT, "rope_parameters": _QWEN_ROPE}, vision_config=tower, **_qwen_ids(tokenizer)
    )
    processor = Qwen2VLProcessor(_qwen_images(4), tokenizer, Qwen2VLVideoProcessor(patch_size=4), _QWEN_TEMPLATE)
    return _saved(Qwen2VLForConditionalGeneration(config), processor, folder)


def qwen2_5_vl(folder: Path) -> PreTrainedModel:
    """Qwen2.5-VL: windows in the tower."""
    tokenizer = tokenizer_with(*_QWEN)
    tower = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 4,
        "patch_size": 4,
        "window_size": 16,
        "fullatt_block_indexes": [1],
        "out_hidden_size": 32,
    }
    config = Qwen2_5_VLConfig(
        text_config={**TEXT, "rope_parameters": _QWEN_ROPE}, vision_config=tower, **_qwen_ids(tokenizer)
    )
    processor = Qwen2_5_VLProcessor(_qwen_images(4), tokenizer, Qwen2VLVideoProcessor(patch_size=4), _QWEN_TEMPLATE)
    return _saved(Qwen2_5_VLForConditionalGeneration(config), processor, folder)


def qwen3_vl(folder: Path) -> PreTrainedModel:
    """Qwen3-VL: features of images are added in the first layers of the language model (deepstack)."""
    tokenizer = tokenizer_with(*_QWEN)
    tower = {
        "depth": 3,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 4,
        "patch_size": 4,
        "out_hidden_size": 32,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 1],
    }
    rope = {**_QWEN_ROPE, "mrope_interleaved": True}
    config = Qwen3VLConfig(
        text_config={**TEXT, "head_dim": 8, "rope_parameters": rope}, vision_config=tower, **_qwen_ids(tokenizer)
    )
    processor = Qwen3VLProcessor(_qwen_images(4), tokenizer, Qwen3VLVideoProcessor(patch_size=4), _QWEN_TEMPLATE)
    return _saved(Qwen3VLForConditionalGeneration(config), processor, folder)


def llava_next(folder: Path) -> PreTrainedModel:
    """LLaVA-NeXT: a base view and tiles, without their padding, and a trained mark at the end of each line."""
    tokenizer = tokenizer_with("<image>")
    grid = [[32, 64], [64, 32], [64, 64]]
    config = LlavaNextConfig(
        text_config={**TEXT, "model_type": "llama"},
        vision_config=CLIP_TOWER,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=grid,
    )
    images = LlavaNextImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, image_grid_pinpoints=grid
    )
    processor = LlavaNextProcessor(
        images, tokenizer, 8, "default", chat_template=chatml("<image>\n"), num_additional_image_tokens=1
    )
    return _saved(LlavaNextForConditionalGeneration(config), processor, folder)


def llava_onevision(folder: Path) -> PreTrainedModel:
    """LLaVA-OneVision: tiles for an image that is alone in its record, one view of each for several."""
    tokenizer = tokenizer_with("<image>", "<video>")
    grid = [[32, 64], [64, 32], [64, 64]]
    config = LlavaOnevisionConfig(
        text_config={**TEXT, "model_type": "qwen2"},
        vision_config=SIGLIP_TOWER,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=grid,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
    )
    size = {"height": 32, "width": 32}
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=grid),
        tokenizer,
        LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=chatml("<image>\n"),
    )
    return _saved(LlavaOnevisionForConditionalGeneration(config), processor, folder)


def internvl(folder: Path) -> PreTrainedModel:
    """InternVL in transformers' own classes: tiles and a thumbnail."""
    names = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = tokenizer_with(**names)
    tower = {
        **{key: value for key, value in CLIP_TOWER.items() if key not in ("model_type", "projection_dim")},
        "image_size": [32, 32],
        "patch_size": [8, 8],
    }
    config = InternVLConfig(
        text_config={**TEXT, "model_type": "qwen2"},
        vision_config=tower,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
    )
    size = {"height": 32, "width": 32}
    images = GotOcr2ImageProcessor(size=size, crop_to_patches=True, max_patches=4)
    processor = InternVLProcessor(
        images, tokenizer, InternVLVideoProcessor(size=size), 4, chat_template=chatml("<IMG_CONTEXT>\n")
    )
    return _saved(InternVLForConditionalGeneration(config), processor, folder)


def idefics3(folder: Path) -> PreTrainedModel:
    """Idefics3: tiles with marks of their row and column between them; SmolVLM's layout."""
    marks = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = tokenizer_with("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *marks)
    config = Idefics3Config(
        text_config={**TEXT, "model_type": "llama"},
        vision_config={key: value for key, value in CLIP_TOWER.items() if key != "model_type"},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    images = Idefics3ImageProcessor(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    processor = Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=chatml("<image>"))
    return _saved(Idefics3ForConditionalGeneration(config), processor, folder)


def gemma3(folder: Path) -> PreTrainedModel:
    """Gemma 3: the tokens of an image attend to each other both ways; sliding windows in some layers."""
    tokenizer = tokenizer_with(
        boi_token="<start_of_image>", eoi_token="<end_of_image>", image_token="<image_soft_token>"
    )
    text = {
        **TEXT,
        "head_dim": 8,
        "sliding_window": 24,
        "query_pre_attn_scalar": 8,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    }
    config = Gemma3Config(
        text_config=text,
        vision_config=SIGLIP_TOWER,
        mm_tokens_per_image=4,
        boi_token_index=tokenizer.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=tokenizer.convert_tokens_to_ids("<end_of_image>"),
        image_token_index=tokenizer.convert_tokens_to_ids("<image_soft_token>"),
    )
    images = Gemma3ImageProcessor(size={"height": 32, "width": 32}, do_pan_and_scan=False)
    processor = Gemma3Processor(images, tokenizer, chatml("<start_of_image>"), image_seq_length=4)
    return _saved(Gemma3ForConditionalGeneration(config), processor, folder)


def smolvlm(folder: Path) -> PreTrainedModel:
    """SmolVLM: as Idefics3, with videos. Not one of FAMILIES: its processor needs num2words for them."""
    marks = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = tokenizer_with("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *marks)
    config = SmolVLMConfig(
        text_config={**TEXT, "model_type": "llama"},
        vision_config={key: value for key, value in CLIP_TOWER.items() if key != "model_type"},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    images = SmolVLMImageProcessor(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    videos = SmolVLMVideoProcessor()
    processor = SmolVLMProcessor(images, tokenizer, videos, image_seq_len=4, chat_template=chatml("<image>"))
    return _saved(SmolVLMForConditionalGeneration(config), processor, folder)


def paligemma(folder: Path) -> PreTrainedModel:
    """PaliGemma: the prompt attends to itself both ways, the answer causally; its processor has no chat template.

    Not one of FAMILIES: it takes one question with an image and its answer.
    """
    tokenizer = tokenizer_with("<image>")
    tokenizer.chat_template = None
    image = tokenizer.convert_tokens_to_ids("<image>")
    images = SiglipImageProcessor(size={"height": 32, "width": 32})
    images.image_seq_length = 16
    processor = PaliGemmaProcessor(images, tokenizer)
    config = PaliGemmaConfig(
        text_config={**TEXT, "model_type": "gemma", "head_dim": 8, "vocab_size": len(tokenizer) + 8},
        vision_config=SIGLIP_TOWER,
        image_token_index=image,
        projection_dim=32,
        hidden_size=32,
    )
    return _saved(PaliGemmaForConditionalGeneration(config), processor, folder)


def _qwen_images(patch: int) -> Qwen2VLImageProcessor:
    return Qwen2VLImageProcessor(patch_size=patch, merge_size=2, size={"shortest_edge": 64, "longest_edge": 2048})


def _saved(model: PreTrainedModel, processor: Any, folder: Path) -> PreTrainedModel:
    randomise(model)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return model


FAMILIES: dict[str, Callable[[Path], PreTrainedModel]] = {
    "llava": llava,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "internvl": internvl,
    "idefics3": idefics3,
    "gemma3": gemma3,
}
