"""Tiny random models, made once a session: LLMs, towers of every kind, and a tokenizer with chatml."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
    ViTConfig,
    ViTForImageClassification,
)

from llm.encoding.named_templates import JINJA
from llm.model.precision import Hardware

CHATML = JINJA["chatml"]
CNN = "test_efficientnet"  # timm's own tiny network with BatchNorm, 256 channels at stride 32
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
TEXT: dict[str, Any] = {**VISION, "num_hidden_layers": 1, "vocab_size": 40}
for _name in ("image_size", "patch_size"):
    del TEXT[_name]
DINO: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "mlp_ratio": 2,
    "image_size": 56,
}

OPEN_CLIP: dict[str, Any] = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 32, "head_width": 8, "patch_size": 8, "mlp_ratio": 1.5},
    "text_cfg": {"context_length": 8, "vocab_size": 30, "width": 16, "heads": 2, "layers": 1},
}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes and four special tokens: 260 ids, any text, chatml, no image token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({char: number for number, char in enumerate(alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    kind: Any = PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerFast = kind(
        tokenizer_object=core, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.add_special_tokens({"unk_token": "<|unk|>"})
    tokenizer.chat_template = CHATML
    return tokenizer


def randomise(model: torch.nn.Module) -> None:
    """Weights away from their initial symmetry, so that a lost or swapped tensor shows in the output."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.add_(0.1 * torch.rand(buffer.shape, generator=generator))


def save_llm(folder: Path, vocab: int, tied: bool) -> Path:
    """A two-layer Llama of width 32 and its tokenizer."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=vocab,
        tie_word_embeddings=tied,
        bos_token_id=256,
        eos_token_id=257,
        pad_token_id=258,
    )
    model = LlamaForCausalLM(config)
    randomise(model)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def folders_open_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """On any machine: what is compared with a run in fp32 is not rounded to bf16."""
    monkeypatch.setattr("vlm.model.hf_folder.this_machine", Hardware)
    monkeypatch.setattr("vlm.model.memory_need.this_machine", Hardware)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of everything below."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def tiny_llm(root: Path) -> Path:
    """Tied embeddings, none unused: `<image>` enlarges them."""
    return save_llm(root / "llm", 260, tied=True)


@pytest.fixture(scope="session")
def roomy_llm(root: Path) -> Path:
    """Untied embeddings, some of them unused."""
    return save_llm(root / "roomy-llm", 300, tied=False)


def _saved(build: Callable[[], PreTrainedModel], folder: Path) -> Path:
    """The same weights whichever test asks first."""
    torch.manual_seed(0)
    model = build()
    randomise(model)
    model.save_pretrained(folder)
    return folder


def save_clip(folder: Path) -> Path:
    """A complete CLIPModel with its preprocessor."""
    _saved(lambda: CLIPModel(CLIPConfig(vision_config=VISION, text_config=TEXT)), folder)
    CLIPImageProcessor(crop_size={"height": 32, "width": 32}, image_mean=[0.4, 0.5, 0.6]).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def clip(root: Path) -> Path:
    """A complete CLIPModel with its preprocessor."""
    return save_clip(root / "clip")


@pytest.fixture(scope="session")
def clip_vision(root: Path) -> Path:
    """A vision-only CLIP folder, without a preprocessor."""
    return _saved(lambda: CLIPVisionModel(CLIPVisionConfig(**VISION)), root / "clip-vision")


@pytest.fixture(scope="session")
def siglip(root: Path) -> Path:
    """A whole SiglipModel."""
    return _saved(lambda: SiglipModel(SiglipConfig(vision_config=VISION, text_config=TEXT)), root / "siglip")


@pytest.fixture(scope="session")
def dinov2(root: Path) -> Path:
    """DINOv2; patches of 14 pixels, 4 x 4 at its own size."""
    return _saved(lambda: Dinov2Model(Dinov2Config(patch_size=14, **DINO)), root / "dinov2")


@pytest.fixture(scope="session")
def dinov2_registers(root: Path) -> Path:
    """DINOv2 with three registers."""
    config = Dinov2WithRegistersConfig(patch_size=14, num_register_tokens=3, **DINO)
    return _saved(lambda: Dinov2WithRegistersModel(config), root / "dinov2-registers")


@pytest.fixture(scope="session")
def vit(root: Path) -> Path:
    """A ViT classifier, as most ViT folders are: no pooler in it."""
    return _saved(lambda: ViTForImageClassification(ViTConfig(**VISION)), root / "vit")


@pytest.fixture(scope="session")
def cnn(root: Path) -> Path:
    """A timm network in timm's own format, classifier included, with the settings the quickstart's asset has."""
    import timm

    torch.manual_seed(0)
    network = timm.create_model(CNN, pretrained=False, num_classes=5)
    randomise(network)
    folder = root / "cnn"
    folder.mkdir()
    save_file(network.state_dict(), folder / "model.safetensors")
    config = {"architecture": CNN, "image_size": 64, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def open_clip_folder(root: Path) -> Path:
    """A tiny open_clip model in the format open_clip publishes."""
    from open_clip.model import CLIP

    torch.manual_seed(0)
    model = CLIP(**OPEN_CLIP)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    folder = root / "open-clip"
    folder.mkdir()
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    settings = {"model_cfg": OPEN_CLIP, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [1.0, 1.0, 1.0]}}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="session")
def picture() -> Image.Image:
    """A wide image of smooth noise."""
    values = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8)
    return Image.fromarray(values).resize((90, 50), Image.Resampling.BICUBIC)


COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220), "green": (30, 200, 30), "gray": (128, 128, 128)}


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen plain-coloured images, two questions each, and two text-only records among them."""
    folder = tmp_path_factory.mktemp("pictures")
    rows: list[dict[str, Any]] = []
    for index in range(16):
        name = list(COLOURS)[index % 4]
        shade = np.clip(np.array(COLOURS[name]) + index, 0, 255).astype(np.uint8)
        Image.fromarray(np.tile(shade, (40, 48, 1))).save(folder / f"{index}.png")
        other = list(COLOURS)[(index + 1 + index // 4) % 4]
        turns = [("<image>\nwhat color?", name), (f"is it {other}?", "yes" if other == name else "no")]
        values = [
            {"from": who, "value": text} for turn in turns for who, text in zip(("human", "gpt"), turn, strict=True)
        ]
        rows.append({"id": str(index), "image": f"{index}.png", "conversations": values})
    for index in range(2):
        values = [{"from": "human", "value": "hello?"}, {"from": "gpt", "value": f"hi {index}"}]
        rows.insert(5 * index, {"id": f"text-{index}", "conversations": values})
    file = folder / "train.json"
    file.write_text(json.dumps(rows))
    single = [
        {"id": row["id"], "image": row["image"], "conversations": pair}
        for row in rows
        if "image" in row
        for pair in (row["conversations"][:2], [_shown(row["conversations"][2]), row["conversations"][3]])
    ]
    (folder / "questions.json").write_text(json.dumps(single))
    return file


def _shown(turn: dict[str, str]) -> dict[str, str]:
    return turn | {"value": "<image>\n" + turn["value"]}
