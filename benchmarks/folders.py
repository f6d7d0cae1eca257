"""The weights that all contenders train: the parts of our recipe, and the same model as one Hugging Face folder.

Also VLMs in the shapes of SmolVLM and Qwen2.5-VL with about 135 million parameters in their language models. Their
weights are random, tokenizer and vocabulary SmolLM2's with the tokens that the classes need; an image of easy-VQA is 64
tokens in both.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    Idefics3Processor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from benchmarks.work import ASSETS, Work
from llm.encoding.chat_template import load_template
from llm.model.hf_export import export_llm
from llm.model.pretrained import load_llm, load_tokenizer
from vlm.config import VlmModelConfig
from vlm.export.hf import export_vlm
from vlm.model.vision_model import build_vlm

TOWERS = ("vit", "lite0")
# A CLIP-like ViT of 22 million parameters, 49 patches of 32 pixels and a class token; its weights are random.
VIT: dict[str, Any] = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 12, "num_attention_heads": 6}
SIZES = {"vit": 224, "lite0": 224}
SIDE = 256  # of the square that images are brought to, in SmolVLM's shape
PIXELS = 224 * 224  # of an image in Qwen2.5-VL's shape
# chatml over a content that is a text or a list of parts, as trainers pass it.
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QWEN = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def make_folder(work: Work, tower: str, folder: Path) -> dict[str, Any]:
    """Build the weights of a work, unless they exist; returns the keys of a spec that name them."""
    if tower in SHAPES:
        made = str(make_ready(tower, folder / tower))
        return {"folder": made, "vlm": made}
    llm = str(ASSETS / "smollm2")
    tokenizer = load_tokenizer(llm)
    jinja = load_template("chatml", tokenizer).jinja
    if work.stage == "sft":
        target = folder / "hf-text"
        if not target.exists():
            export_llm(load_llm(llm, torch.float32), tokenizer, jinja, target, torch.float32)
        return {"folder": str(target)}
    spec = str(ASSETS / "lite0") if tower == "lite0" else str(_vit(folder / "vit"))
    target = folder / f"hf-{tower}"
    if not target.exists():
        torch.manual_seed(0)
        config = VlmModelConfig(llm=llm, tower=spec, image_mode="resize", image_size=SIZES[tower])
        vision = build_vlm(config, torch.float32)
        vision.standardise(torch.rand(16, 3, SIZES[tower], SIZES[tower]))  # as a run does before its first step
        export_vlm(vision, vision.tokenizer, jinja, target, torch.float32)
    return {"folder": str(target), "tower": spec, "image_size": SIZES[tower]}


def _vit(folder: Path) -> Path:
    if not folder.exists():
        torch.manual_seed(0)
        CLIPVisionModel(CLIPVisionConfig(**VIT, image_size=224, patch_size=32)).save_pretrained(folder)
        side = {"height": 224, "width": 224}
        CLIPImageProcessor(size=side, crop_size=side).save_pretrained(folder)
    return folder


def make_ready(shape: str, folder: Path) -> Path:
    """The folder of a shape's model and processor, made unless it exists."""
    if not folder.exists():
        torch.manual_seed(0)
        model, processor = SHAPES[shape]()
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder


def smolvlm() -> tuple[PreTrainedModel, ProcessorMixin]:
    """SmolLM2-135M's shape below a ViT of 22 million parameters, 256 patches and a shuffle of 2 x 2 of them.

    In the class of SmolVLM's first models; transformers' SmolVLM classes compute the same and want num2words.
    """
    tokens = ("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>")
    tokenizer = _tokenizer(*tokens)
    text = {
        "model_type": "llama",
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
    }
    tower = {
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": 12,
        "num_attention_heads": 6,
        "image_size": SIDE,
        "patch_size": 16,
    }
    config = Idefics3Config(
        text_config=text | _vocabulary(tokenizer),
        vision_config=tower,
        image_token_id=tokenizer.get_vocab()["<image>"],
        scale_factor=2,
        tie_word_embeddings=True,
    )
    edge = {"longest_edge": SIDE}
    images = Idefics3ImageProcessor(size=edge, max_image_size=edge, do_image_splitting=False)
    processor = Idefics3Processor(images, tokenizer, 64, chat_template=TEMPLATE.replace("IMAGE", "<image>"))
    return Idefics3ForConditionalGeneration(config), processor


def qwen2_5_vl() -> tuple[PreTrainedModel, ProcessorMixin]:
    """Positions in time, height and width, windows in the tower, 256 patches merged to 64 tokens."""
    tokenizer = _tokenizer(*QWEN)
    text = {
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 15,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "mrope_section": [8, 12, 12], "rope_theta": 1e6},
    }
    tower = {
        "depth": 8,
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_heads": 6,
        "patch_size": 14,
        "window_size": 112,
        "fullatt_block_indexes": [3, 7],
        "out_hidden_size": 768,
    }
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    vocabulary = tokenizer.get_vocab()
    ids: dict[str, Any] = {name: vocabulary[token] for name, token in zip(names, QWEN, strict=True)}
    config = Qwen2_5_VLConfig(
        text_config=text | _vocabulary(tokenizer), vision_config=tower, tie_word_embeddings=True, **ids
    )
    images = Qwen2VLImageProcessor(patch_size=14, size={"shortest_edge": PIXELS, "longest_edge": PIXELS})
    jinja = TEMPLATE.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    processor = Qwen2_5_VLProcessor(images, tokenizer, Qwen2VLVideoProcessor(patch_size=14), jinja)
    return Qwen2_5_VLForConditionalGeneration(config), processor


def _tokenizer(*tokens: str) -> PreTrainedTokenizerFast:
    """SmolLM2's tokenizer with special tokens."""
    tokenizer = load_tokenizer(str(ASSETS / "smollm2"))
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    words = [AddedToken(token, special=True, normalized=False) for token in tokens]
    tokenizer.add_tokens(words, special_tokens=True)
    return tokenizer


def _vocabulary(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    return ids | {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.eos_token_id, "tie_word_embeddings": True}


SHAPES: dict[str, Callable[[], tuple[PreTrainedModel, ProcessorMixin]]] = {"smolvlm": smolvlm, "qwen2_5_vl": qwen2_5_vl}
