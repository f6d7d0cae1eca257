"""Towers against transformers', timm's and open_clip's own forward passes, and every refusal."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel, CLIPModel, Dinov2WithRegistersModel, SiglipModel, ViTForImageClassification
from transformers.utils.constants import IMAGENET_DEFAULT_MEAN, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

import vlm.vision.towers
from llm.errors import ConfigError, ModelError
from tests.vlm.conftest import CNN, OPEN_CLIP
from vlm.vision.open_clip import load_open_clip
from vlm.vision.timm_tower import _state, _TimmSource
from vlm.vision.towers import Tower, load_tower


def pixels(size: int, count: int = 2) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def features(tower: Tower, size: int) -> Tensor:
    found = tower.features(pixels(size))
    assert found.shape == (2, tower.image_tokens, tower.hidden)
    return found


@torch.no_grad()
def hidden(network: nn.Module, size: int, layer: int) -> Tensor:
    network.train(False)
    states: Tensor = network(pixels(size), output_hidden_states=True).hidden_states[layer]
    return states


def test_clip_vision_tower_of_a_complete_clip_model(clip: Path) -> None:
    tower = load_tower(str(clip), layer=-2, image_mode="resize")
    network: Any = CLIPModel.from_pretrained(clip)
    assert torch.equal(features(tower, 32), hidden(network.vision_model, 32, -2)[:, 1:])
    assert (tower.image_tokens, tower.leading, tower.strategy, tower.stride) == (16, 1, "default", 8)
    assert tower.preprocess.mean == (0.4, 0.5, 0.6)
    assert tower.preprocess.std == tuple(OPENAI_CLIP_STD)
    assert (tower.preprocess.size, tower.preprocess.resample, tower.preprocess.mode) == (32, "bicubic", "resize")


def test_the_layer_is_the_one_asked_for(clip: Path) -> None:
    network: Any = CLIPModel.from_pretrained(clip)
    seen = [features(load_tower(str(clip), layer), 32) for layer in (-3, -2, -1, 1)]
    for layer, found in zip((-3, -2, -1, 1), seen, strict=True):
        assert torch.equal(found, hidden(network.vision_model, 32, layer)[:, 1:])
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[3])  # of 3 layers, the third from the end is the first


def test_vision_only_folder_without_a_preprocessor(clip_vision: Path) -> None:
    tower = load_tower(str(clip_vision))
    assert torch.equal(features(tower, 32), hidden(AutoModel.from_pretrained(clip_vision), 32, -2)[:, 1:])
    assert tower.preprocess.mean == tuple(OPENAI_CLIP_MEAN)


def test_siglip_has_no_class_token(siglip: Path) -> None:
    tower = load_tower(str(siglip))
    network: Any = SiglipModel.from_pretrained(siglip)
    assert torch.equal(features(tower, 32), hidden(network.vision_model, 32, -2))
    assert (tower.image_tokens, tower.leading, tower.strategy) == (16, 0, "full")
    assert tower.preprocess.mean == (0.5, 0.5, 0.5)


def test_dinov2_takes_any_size(dinov2: Path) -> None:
    network: Any = AutoModel.from_pretrained(dinov2)
    for size, rows in ((0, 16), (42, 9)):
        tower = load_tower(str(dinov2), image_size=size)
        assert torch.equal(features(tower, size or 56), hidden(network, size or 56, -2)[:, 1:])
        assert (tower.image_tokens, tower.strategy, tower.preprocess.mean) == (
            rows,
            "default",
            tuple(IMAGENET_DEFAULT_MEAN),
        )


def test_registers_remain_tokens_because_llava_cannot_drop_them(dinov2_registers: Path) -> None:
    tower = load_tower(str(dinov2_registers))
    network: Any = Dinov2WithRegistersModel.from_pretrained(dinov2_registers)
    assert torch.equal(features(tower, 56), hidden(network, 56, -2)[:, 1:])
    assert (tower.image_tokens, tower.leading) == (3 + 16, 4)


def test_vit_classifier_folder(vit: Path) -> None:
    tower = load_tower(str(vit))
    network: Any = ViTForImageClassification.from_pretrained(vit)
    assert torch.equal(features(tower, 32), hidden(network.vit, 32, -2)[:, 1:])
    assert (tower.image_tokens, tower.strategy) == (16, "default")


@pytest.mark.parametrize("name", ["clip", "siglip", "vit"])
def test_another_image_size_resizes_positions_once(name: str, request: pytest.FixtureRequest) -> None:
    """At 64 pixels the tower runs without interpolation and gives the same features as with it."""
    folder = request.getfixturevalue(name)
    own, tower = load_tower(str(folder)), load_tower(str(folder), image_size=64)
    assert (tower.image_tokens, tower.module.config.image_size, tower.preprocess.size) == (64, 64, 64)
    found = features(tower, 64)
    plain: Any = own.module
    with torch.no_grad():
        expected = plain(pixels(64), output_hidden_states=True, interpolate_pos_encoding=True).hidden_states[-2]
    # transformers interpolates without antialias, which is the same thing upwards
    assert torch.allclose(found, expected[:, own.dropped :], atol=1e-5)
    assert load_tower(str(folder), image_size=32).module.config.image_size == 32


def test_pooling_is_the_mean_of_windows_and_leaves_registers_out(dinov2_registers: Path) -> None:
    whole = features(load_tower(str(dinov2_registers)), 56)[:, 3:]
    pooled = features(load_tower(str(dinov2_registers), pool=2), 56)
    assert pooled.shape[1] == 4
    top_right = whole[:, [2, 3, 6, 7]].mean(1)  # of a grid of 4 x 4
    assert torch.allclose(pooled[:, 1], top_right, atol=1e-6)


def test_timm_folder_gives_the_feature_map_in_row_order(cnn: Path) -> None:
    import timm

    tower = load_tower(str(cnn), image_mode="resize")
    network = timm.create_model(CNN, pretrained=False, num_classes=5).eval()
    network.load_state_dict(load_file(cnn / "model.safetensors"))
    with torch.no_grad():
        expected = network.forward_features(pixels(64))  # [2, 256, 2, 2]
    found = features(tower, 64)
    assert torch.equal(found[:, 1], expected[:, :, 0, 1])
    assert torch.equal(found[:, 2], expected[:, :, 1, 0])
    assert (tower.image_tokens, tower.stride, tower.hidden, tower.strategy, tower.leading) == (4, 32, 256, "full", 0)
    assert tower.preprocess.mean == (0.5, 0.5, 0.5)


def test_three_ways_to_name_a_timm_network(cnn: Path) -> None:
    specs = (str(cnn), f"timm:{cnn}", f"timm:{CNN}@{cnn / 'model.safetensors'}")
    found = [features(load_tower(spec, image_size=64), 64) for spec in specs]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_odd_sizes_get_the_stride_that_gives_their_rows(cnn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """80 pixels give 3 cells per side (80 / 32, rounded up); the processor takes 80 // stride: stride is not 32."""
    tower = load_tower(str(cnn), image_size=80)
    assert (tower.grid, tower.stride, 80 // tower.stride) == (3, 26, 3)
    monkeypatch.setattr(vlm.vision.towers, "feature_grid", lambda *_: 20)  # a network of stride 2
    with pytest.raises(ConfigError, match="Take a multiple of 20, such as 40"):
        load_tower(str(cnn), image_size=39)


def test_batch_norm_stays_fp32_and_a_vit_does_not(cnn: Path, clip: Path) -> None:
    assert load_tower(str(cnn), dtype=torch.bfloat16).module.dtype == torch.float32
    tower = load_tower(str(clip), dtype=torch.bfloat16)
    assert tower.module.dtype == torch.bfloat16
    assert features(tower, 32).dtype == torch.bfloat16


def open_clip_states(folder: Path, layer: int) -> Tensor:
    """The hidden states of open_clip's own network after its first `layer` blocks."""
    from open_clip.model import CLIP

    model = CLIP(**OPEN_CLIP).eval()
    model.load_state_dict(load_file(folder / "open_clip_model.safetensors"))
    with torch.no_grad():
        rows = model.visual._embeds(pixels(32))
        for block in model.visual.transformer.resblocks[:layer]:
            rows = block(rows)
    return torch.as_tensor(rows)


def test_open_clip_remap_is_exact(open_clip_folder: Path) -> None:
    tower = load_tower(f"open_clip:{open_clip_folder}", layer=-2)
    assert tower.module.config.hidden_act == "quick_gelu"
    assert torch.allclose(features(tower, 32), open_clip_states(open_clip_folder, 2)[:, 1:], atol=1e-5)
    assert (tower.kind, tower.image_tokens, tower.preprocess.mean) == ("clip_vision_model", 16, (0.1, 0.2, 0.3))


def test_open_clip_by_name_and_file(open_clip_folder: Path, tmp_path: Path) -> None:
    import open_clip

    (tmp_path / "eyegraft-tiny.json").write_text(json.dumps(OPEN_CLIP))
    open_clip.add_model_config(tmp_path / "eyegraft-tiny.json")
    spec = f"open_clip:eyegraft-tiny@{open_clip_folder / 'open_clip_model.safetensors'}"
    by_folder = features(load_tower(f"open_clip:{open_clip_folder}"), 32)
    assert torch.equal(features(load_tower(spec), 32), by_folder)
    assert load_tower(spec).preprocess.mean == tuple(OPENAI_CLIP_MEAN)
    with pytest.raises(ModelError, match="names no weights"):
        load_tower("open_clip:eyegraft-tiny")


def test_open_clip_refusals(open_clip_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(open_clip_folder, tmp_path / "changed")
    weights = tmp_path / "changed" / "open_clip_model.safetensors"
    state = load_file(weights)

    save_file({**state, "visual.transformer.resblocks.0.ls_1.gamma": torch.ones(32)}, weights)
    with pytest.raises(ModelError, match=r"do not fit its config: .*ls_1\.gamma"):
        load_open_clip(str(tmp_path / "changed"))
    save_file({name: tensor for name, tensor in state.items() if name != "visual.ln_pre.weight"}, weights)
    with pytest.raises(ModelError, match=r"pre_layrnorm\.weight"):
        load_open_clip(str(tmp_path / "changed"))
    save_file({"visual.trunk.blocks.0.attn.qkv.weight": torch.ones(3, 3)}, weights)
    with pytest.raises(ModelError, match="timm:"):
        load_open_clip(str(tmp_path / "changed"))
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(ModelError, match="broken"):
        load_open_clip(str(tmp_path / "changed"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("open_clip:ViT-B-32", "names no weights"),
        ("open_clip:ViT-B-16-SigLIP@x.safetensors", "timm's vit_base_patch16_siglip_224"),
        ("open_clip:RN50@x.safetensors", "a ResNet"),
        ("open_clip:ViT-L-14-CLIPA-336@x.safetensors", "no_ln_pre"),
        ("open_clip:ViT-nothing@x.safetensors", "knows no model"),
        ("open_clip:ViT-B-32@x.pt", "no safetensors file"),
        ("timm:no_such_network", "knows no network"),
        (f"timm:{CNN}@missing.safetensors", "no safetensors file"),
        ("no/such/folder", "no such folder"),
    ],
)
def test_specs_that_name_nothing_usable(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_tower(spec)


def test_random_timm_weights_are_never_used() -> None:
    """Without the hub a bare name has no weights."""
    with pytest.raises(ModelError, match="could not get pretrained weights"):
        load_tower("timm:resnet10t")


def test_timm_does_not_wait_for_a_hub_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlm.vision.timm_tower.why_unreachable", lambda: "no answer within 2 s")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    began = time.monotonic()
    advice = (
        r"(?s)\(huggingface.co: no answer.*Give a local file: timm:resnet10t@.*hf download timm/resnet10t.*modelscope"
    )
    with pytest.raises(ModelError, match=advice):
        load_tower("timm:resnet10t")
    assert time.monotonic() - began < 2 and not constants.HF_HUB_OFFLINE


def test_timm_is_asked_for_trained_weights_without_a_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call that needs the hub, held to its arguments."""
    import timm

    asked: list[tuple[str, dict[str, Any]]] = []

    def create(name: str, **settings: Any) -> nn.Module:
        asked.append((name, settings))
        return nn.Linear(1, 1, bias=False)

    monkeypatch.setattr(timm, "create_model", create)
    assert list(_state(_TimmSource("resnet10t", "resnet10t"))) == ["weight"]
    assert asked == [("resnet10t", {"pretrained": True, "num_classes": 0})]


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"size": 224}, 224),
        ({"size": 224.0}, 224),
        ({"size": {"height": 30, "width": 30}}, 30),
        ({"size": {"shortest_edge": 40.0}}, 40),
        ({"size": 50, "crop_size": {"height": 48}, "do_center_crop": True}, 48),
        ({"size": 50, "crop_size": {"height": 48}, "do_center_crop": False}, 50),
        ({"size": {"longest_edge": 9}}, 0),
        ({}, 0),
    ],
)
def test_pixels_a_side_by_a_saved_processor(settings: dict[str, Any], size: int) -> None:
    found = vlm.vision.towers._processor_size(settings)
    assert found == size and type(found) is int


def test_timm_refusals(cnn: Path, tmp_path: Path) -> None:
    import timm

    state = load_file(cnn / "model.safetensors")
    state.popitem()
    save_file(
        {name: tensor for name, tensor in state.items() if name != "conv_head.weight"}, tmp_path / "w.safetensors"
    )
    with pytest.raises(ModelError, match=r"conv_head\.weight"):
        load_tower(f"timm:{CNN}@{tmp_path / 'w.safetensors'}")
    (tmp_path / "broken.safetensors").write_bytes(b"\x08" + bytes(7) + b"no json.")
    with pytest.raises(ModelError, match=r"broken\.safetensors: broken \(.*Fetch it again"):
        load_tower(f"timm:{CNN}@{tmp_path / 'broken.safetensors'}")
    save_file(timm.create_model("test_vit", pretrained=False).state_dict(), tmp_path / "vit.safetensors")
    with pytest.raises(ModelError, match="not a map of channels"):
        load_tower(f"timm:test_vit@{tmp_path / 'vit.safetensors'}")


def test_folder_refusals(clip_vision: Path, tiny_llm: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a llama model"):
        load_tower(str(tiny_llm))
    folder = tmp_path / "torn"
    shutil.copytree(clip_vision, folder)
    state = load_file(folder / "model.safetensors")
    lost = next(name for name in state if name.endswith("layers.1.mlp.fc1.weight"))
    save_file(
        {name: tensor for name, tensor in state.items() if name != lost}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(ModelError, match=r"weights are missing: .*layers\.1\.mlp\.fc1\.weight"):
        load_tower(str(folder))
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="torn"):
        load_tower(str(folder))


def test_settings_that_do_not_fit(clip: Path) -> None:
    for layer in (0, 4, -4):
        with pytest.raises(ConfigError, match=r"tower_layer: .* which has 3"):
            load_tower(str(clip), layer)
    with pytest.raises(ConfigError, match="does not divide"):
        load_tower(str(clip), pool=3)
    with pytest.raises(ConfigError, match="less than one patch"):
        load_tower(str(clip), image_size=7)


def test_an_unknown_resampling_is_refused(clip: Path, tmp_path: Path) -> None:
    shutil.copytree(clip, tmp_path / "clip")
    file = tmp_path / "clip" / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "resample": 5}))
    with pytest.raises(ModelError, match="resample 5"):
        load_tower(str(tmp_path / "clip"))
    file.write_text(json.dumps({**json.loads(file.read_text()), "resample": 2}))
    assert load_tower(str(tmp_path / "clip")).preprocess.resample == "bilinear"


def test_preprocess_gives_what_the_tower_takes(clip: Path, picture: Any) -> None:
    tower = load_tower(str(clip))
    assert tower.features(torch.from_numpy(np.stack([tower.preprocess(picture)]))).shape == (1, 16, 32)
