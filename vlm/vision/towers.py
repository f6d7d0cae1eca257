"""Vision towers: CLIP, SigLIP, DINOv2 and ViT folders, open_clip ViTs and timm CNNs, all as one `Tower`.

A spec is a local folder or hub id, `open_clip:...` (vlm/vision/open_clip.py) or `timm:...` (vlm/vision/timm_tower.py).
"""

import copy
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import (
    CLIPVisionModel,
    Dinov2Model,
    Dinov2WithRegistersModel,
    PreTrainedConfig,
    PreTrainedModel,
    SiglipVisionModel,
    ViTModel,
)
from transformers.utils.constants import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    IMAGENET_STANDARD_MEAN,
    IMAGENET_STANDARD_STD,
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
)

from llm.activity import activity
from llm.errors import ConfigError, ModelError
from llm.formats.conversation import ImageShape
from llm.library_errors import as_model_error
from llm.model import hf_loaders
from llm.model.model_folder import local_folder
from vlm.vision.images import ImageMode, Preprocess
from vlm.vision.open_clip import load_open_clip
from vlm.vision.tiles import Resolution, Size, Tiling, default_resolutions
from vlm.vision.timm_tower import feature_grid, is_timm_folder, load_timm

CNN = "timm_wrapper"
FILES = ("config.json", "preprocessor_config.json", "processor_config.json", "*.safetensors")


@dataclass(frozen=True, slots=True)
class _Vit:
    """A kind of ViT. `positions` names the position embeddings that fix its image size, if any do."""

    model: type[PreTrainedModel]
    class_token: bool
    mean: list[float]
    std: list[float]
    positions: str = ""


VITS = {
    "clip_vision_model": _Vit(
        CLIPVisionModel, True, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, "embeddings.position_embedding.weight"
    ),
    "siglip_vision_model": _Vit(
        SiglipVisionModel,
        False,
        IMAGENET_STANDARD_MEAN,
        IMAGENET_STANDARD_STD,
        "embeddings.position_embedding.weight",
    ),
    "vit": _Vit(ViTModel, True, IMAGENET_STANDARD_MEAN, IMAGENET_STANDARD_STD, "embeddings.position_embeddings"),
    # These interpolate their positions to the image size in every forward pass.
    "dinov2": _Vit(Dinov2Model, True, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
    "dinov2_with_registers": _Vit(Dinov2WithRegistersModel, True, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
}
# Models of a vision and a text tower: the vision tower is used.
TWO_TOWER = {"clip", "siglip"}
RESAMPLE_NAMES: dict[int, Literal["bicubic", "bilinear"]] = {3: "bicubic", 2: "bilinear"}  # Pillow's numbers


@dataclass(frozen=True, slots=True)
class Tower:
    """A vision network with its geometry and preprocessing.

    The projected hidden state begins with `leading` tokens that are no patches (class token, registers). The assembled
    class drops the first of them, the class token, if `dropped` is 1; registers remain among the image's tokens, since
    transformers' Llava cannot drop them. Pooling, which cannot be exported anyway, drops all of them.

    Attributes:
        module: The Hugging Face vision model.
        kind: Its model type, such as "clip_vision_model"; `CNN` for a timm network.
        layer: Hidden state that is projected; -1 is the last.
        grid: Patches, or cells of the feature map, per side.
        stride: Pixels per patch or cell.
        hidden: Channels of the features.
        pool: Side of the windows that are averaged; 1 does not pool.
    """

    module: PreTrainedModel
    kind: str
    layer: int
    leading: int
    dropped: int
    grid: int
    stride: int
    hidden: int
    preprocess: Preprocess
    pool: int = 1

    @property
    def tiling(self) -> Tiling | None:
        """The tiles of images; None where an image is one view."""
        return self.preprocess.tiling

    def shape(self, size: Size) -> ImageShape:
        """The rows in the language model, and the views, of an image of `size` (width, height)."""
        tiling = self.tiling
        views, rows = (1, self.image_tokens) if tiling is None else (tiling.views(size), tiling.rows(size, self.grid))
        return ImageShape(rows, views, *size)

    @property
    def extremes(self) -> tuple[ImageShape, ...]:
        """Shapes of images that take the most rows, or the most views for their rows; the one of the most rows first.

        An image that fills a resolution keeps all of its rows; of one that is a line of patches few are left.
        """
        if self.tiling is None:
            return (self.shape((self.preprocess.size, self.preprocess.size)),)
        filled = [(width, height) for height, width in self.tiling.resolutions]
        lines = [size for width, height in filled for size in ((width, self.stride), (self.stride, height))]
        return tuple(sorted(map(self.shape, (*filled, *lines)), key=lambda shape: -shape.tokens))

    @property
    def largest(self) -> ImageShape:
        """The shape of the image that takes the most rows."""
        return self.extremes[0]

    @property
    def image_tokens(self) -> int:
        """Tokens of an image in the language model; of a tiled image those of one view."""
        if self.pool > 1:
            return (self.grid // self.pool) ** 2
        return self.grid**2 + self.leading - self.dropped

    @property
    def strategy(self) -> Literal["default", "full"]:
        """transformers' vision_feature_select_strategy: `default` drops one leading token."""
        return "default" if self.dropped else "full"

    def features(self, pixel_values: Tensor) -> Tensor:
        """[I, 3, H, W] -> [I, image_tokens, hidden] in the tower's dtype."""
        pixel_values = pixel_values.to(self.module.dtype)
        if self.kind == CNN:
            tokens = self.module(pixel_values).last_hidden_state.flatten(2).transpose(1, 2)
        else:
            # A list, not a number: transformers reads 0 and 1 as flags. Only this layer's states are returned.
            states = self.module(pixel_values, output_hidden_states=[self.layer]).hidden_states
            tokens = states[self.layer][:, self.dropped :]
        return self._pooled(tokens) if self.pool > 1 else tokens

    def _pooled(self, tokens: Tensor) -> Tensor:
        """Mean of pool x pool windows of the grid."""
        patches = tokens[:, self.leading - self.dropped :]
        image = patches.transpose(1, 2).reshape(len(tokens), -1, self.grid, self.grid)
        return nn.functional.avg_pool2d(image, self.pool).flatten(2).transpose(1, 2)


def load_tower(
    spec: str,
    layer: int = -2,
    image_size: int = 0,
    image_mode: ImageMode = "pad",
    pool: int = 1,
    dtype: torch.dtype = torch.float32,
    weights: bool = True,
    resolutions: Sequence[Resolution] = (),
) -> Tower:
    """Load a tower in eval mode.

    Args:
        spec: A folder or hub id, `open_clip:...` or `timm:...`.
        layer: Hidden state of a ViT that is projected.
        image_size: Pixels per side; 0 takes the checkpoint's own. Another size resizes fixed position embeddings once,
            here, so that the exported folder needs no interpolation.
        image_mode: How images become square, or tiles; see `Preprocess`.
        pool: Side of the windows of features that are averaged.
        dtype: Dtype of the weights; a network with BatchNorm stays in fp32, since bf16 would round its statistics.
        weights: Without, the folder need not hold weights, and tensors are created on torch's default device.
        resolutions: Of `anyres`; empty takes LLaVA-NeXT's five.

    Raises:
        ModelError: The folder cannot be loaded or is no tower.
        ConfigError: A setting does not fit the tower.
    """
    maker, _, name = spec.partition(":")
    with activity(f"loading the tower {spec}"):
        if maker == "timm" or is_timm_folder(Path(spec)):
            tower = _cnn(name if maker == "timm" else spec, image_size, weights)
        elif maker == "open_clip":
            tower = _vit(spec, *load_open_clip(name, weights), layer, image_size)
        else:
            tower = _from_hub(spec, layer, image_size, weights)
    if tower.grid % pool:
        raise ConfigError(
            f"model.pool: {pool} does not divide the tower's grid of {tower.grid} x {tower.grid} patches. "
            f"Take a divisor of {tower.grid}, or another model.image_size"
        )
    network: nn.Module = tower.module
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        network.to(dtype)
    tower = replace(tower, pool=pool, preprocess=replace(tower.preprocess, mode=image_mode))
    return _tiled(spec, tower, resolutions) if image_mode == "anyres" else tower


def _tiled(spec: str, tower: Tower, resolutions: Sequence[Resolution]) -> Tower:
    """The tower with its resolutions. ConfigError for one that transformers' LlavaNext could not tile the same way."""
    mode, side = "model.image_mode: anyres", tower.preprocess.size
    if tower.kind == CNN or tower.leading > tower.dropped:
        kind = "timm network" if tower.kind == CNN else "tower with registers"
        advice = "Use pad, or another tower"
        raise ConfigError(f"{mode}: {spec} is a {kind}; tiles need a ViT without registers. {advice}")
    if tower.pool > 1:
        raise ConfigError(f"{mode}: found model.pool {tower.pool}; tiles are not pooled. Set model.pool: 1")
    own = tower.module.config.image_size
    if own != side or side % tower.stride:
        raise ConfigError(
            f"{mode}: tiles of {side} pixels, but {spec} is one of {own} pixels in patches of {tower.stride}, by which "
            f"transformers' LlavaNext tiles. Set model.image_size: {own}, or take another tower"
        )
    chosen = tuple(resolutions) or default_resolutions(side)
    for height, width in chosen:
        if height % side or width % side:
            raise ConfigError(
                f"model.image_resolutions: found [{height}, {width}], which tiles of {side} pixels do not fill. Use "
                f"multiples of {side}, such as [{max(1, round(height / side)) * side}, "
                f"{max(1, round(width / side)) * side}]"
            )
    return replace(tower, preprocess=replace(tower.preprocess, resolutions=chosen))


def tower_files(spec: str) -> Path | None:
    """Folder or file of a spec's weights; None for a name that a library resolves itself."""
    kind, _, name = spec.partition(":")
    if kind not in ("timm", "open_clip"):
        return local_folder(spec, FILES)
    _, at, file = name.partition("@")
    if at:
        return Path(file)
    return local_folder(name, ("*.json", "*.safetensors")) if Path(name).is_dir() or "/" in name else None


def _from_hub(spec: str, layer: int, image_size: int, weights: bool) -> Tower:
    """A tower from a folder or hub id that transformers loads."""
    folder = local_folder(spec, FILES if weights else FILES[:-1])
    with as_model_error(f"tower {spec}: cannot be loaded as a vision tower"):
        config = hf_loaders.load_config(folder)
        if config.model_type == CNN:
            return _cnn(str(folder), image_size, weights)
        if config.model_type in TWO_TOWER:
            config = config.vision_config
        if config.model_type not in VITS:
            raise ModelError(
                f"tower {spec} is a {config.model_type} model. Towers are {', '.join([*TWO_TOWER, *VITS])}, "
                "open_clip:... and timm:..."
            )
        kind = VITS[config.model_type]
        module, missing = _loaded(kind, folder) if weights else (kind.model(config), [])
        own = _own_preprocess(folder, kind, config)
    if missing:
        raise ModelError(f"tower {spec}: weights are missing: {', '.join(missing[:4])}. Fetch the folder again")
    return _vit(spec, module, own, layer, image_size)


def _loaded(kind: _Vit, folder: Path) -> tuple[PreTrainedModel, list[str]]:
    """The network in fp32 and the names of weights that the folder lacks."""
    with _no_report():
        module, report = hf_loaders.load_model_with_report(kind.model, folder, dtype=torch.float32)
    # A pooler comes after all hidden states; checkpoints of classifiers have none.
    return module, [key for key in report.missing if not key.startswith("pooler.")]


@contextmanager
def _no_report() -> Iterator[None]:
    """Silence transformers' table of unused keys: the text tower of CLIP is left out on purpose."""
    logger = logging.getLogger("transformers.modeling_utils")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _vit(spec: str, module: PreTrainedModel, own: Preprocess, layer: int, image_size: int) -> Tower:
    """The tower of a ViT of one of the kinds in VITS."""
    config = module.config
    kind = VITS[config.model_type]
    layers = config.num_hidden_layers
    if not (1 <= layer <= layers or -layers <= layer <= -1):
        raise ConfigError(f"model.tower_layer: {layer} is no layer of {spec}, which has {layers}. Use -{layers} to -1")
    size = image_size or own.size
    if size < config.patch_size:
        raise ConfigError(f"model.image_size: {size} is less than one patch of {spec}, {config.patch_size} pixels")
    if kind.positions and size != config.image_size:
        module = _resized(module, kind.positions, size)
    registers = config.num_register_tokens if config.model_type == "dinov2_with_registers" else 0
    return Tower(
        module=module,
        kind=config.model_type,
        layer=layer,
        leading=int(kind.class_token) + registers,
        dropped=int(kind.class_token),
        grid=size // config.patch_size,
        stride=config.patch_size,
        hidden=config.hidden_size,
        preprocess=replace(own, size=size),
    )


def _cnn(name: str, image_size: int, weights: bool) -> Tower:
    """The tower of a timm network. Its grid is measured: the nominal stride does not give it for every size."""
    module, own = load_timm(name, weights)
    size = image_size or own.size
    grid = feature_grid(module, name, size)
    stride = size // grid
    if size // stride != grid:
        raise ConfigError(
            f"model.image_size: {size} pixels give {grid} cells per side in timm:{name}, which fits no integer stride. "
            f"Take a multiple of {grid}, such as {grid * round(size / grid)}"
        )
    return Tower(
        module=module,
        kind=CNN,
        layer=-1,
        leading=0,
        dropped=0,
        grid=grid,
        stride=stride,
        hidden=module.config.hidden_size,
        preprocess=replace(own, size=size),
    )


def _resized(module: PreTrainedModel, positions: str, size: int) -> PreTrainedModel:
    """The same tower for another image size: patch positions are resized like an image, the rest is copied."""
    config = copy.deepcopy(module.config)
    config.image_size = size
    other: PreTrainedModel = type(module)(config)
    grid = size // config.patch_size
    state = module.state_dict()
    state[positions] = _resize_positions(state[positions], grid)
    other.load_state_dict(state)
    other.train(False)
    return other


def _resize_positions(positions: Tensor, grid: int) -> Tensor:
    """[(1,) n + c, C] -> [(1,) grid^2 + c, C]; c is 1 with a class token, that is, where n + c is no square."""
    flat = positions.reshape(-1, positions.shape[-1])
    side = math.isqrt(len(flat))
    others = len(flat) - side**2
    image = flat[others:].T.reshape(1, -1, side, side)
    # Enlarging is transformers' own interpolation; shrinking like that would alias.
    image = nn.functional.interpolate(image, (grid, grid), mode="bicubic", antialias=grid < side)
    resized = torch.cat([flat[:others], image[0].flatten(1).T])
    return resized.reshape(*positions.shape[:-2], *resized.shape)


def _own_preprocess(spec: Path, kind: _Vit, config: PreTrainedConfig) -> Preprocess:
    """Preprocessing by the folder's image processor; a tower of fixed size keeps that size."""
    settings = hf_loaders.image_processor_settings(spec)
    mean, std = settings.get("image_mean") or kind.mean, settings.get("image_std") or kind.std
    resample = settings.get("resample", 3)
    if resample not in RESAMPLE_NAMES:
        raise ModelError(f"tower {spec}: its preprocessor's resample {resample} is none of {sorted(RESAMPLE_NAMES)}")
    size = config.image_size if kind.positions else _processor_size(settings) or config.image_size
    return Preprocess(size, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]), RESAMPLE_NAMES[resample])


def _processor_size(settings: dict[str, Any]) -> int:
    """Pixels per side of a saved image processor's output; 0 if it names none."""
    size = (settings.get("crop_size") if settings.get("do_center_crop") else None) or settings.get("size") or 0
    if isinstance(size, dict):
        return int(size.get("height") or size.get("shortest_edge") or 0)
    return int(size)
