"""timm's CNNs as `TimmWrapperModel`, the vision tower of `FastVlmForConditionalGeneration`.

Forms: `NAME` (timm's own pretrained weights, from the hub), `NAME@/path/model.safetensors`, and a local folder or hub
id with `config.json` ({"architecture": NAME, and optionally image_size, mean, std, interpolation, model_args}) and
`model.safetensors` under timm's own names. Random weights are never used.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import TimmWrapperConfig, TimmWrapperModel

from llm.errors import ModelError
from llm.files.untrusted_json import read_object, read_object_if_there
from llm.hub_access import hub_host, local_copies_only, other_ways, why_unreachable
from llm.library_errors import first_line
from llm.model.model_folder import local_folder, refuse_special_files
from vlm.vision.images import Preprocess
from vlm.vision.square_resize import RESAMPLE


@dataclass(frozen=True, slots=True)
class _TimmSource:
    """Where a network's architecture, weights and preprocessing come from; without `weights` timm fetches its own."""

    name: str
    architecture: str
    weights: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    model_args: dict[str, Any] | None = None


def is_timm_folder(path: Path) -> bool:
    """Whether a folder is in timm's own format."""
    config = path / "config.json"
    if config.is_file():
        refuse_special_files(path)
    return "architecture" in read_object_if_there(path / "config.json")


def load_timm(name: str, weights: bool = True) -> tuple[TimmWrapperModel, Preprocess]:
    """The network in fp32, without `weights` its shape alone, and its preprocessing. Raises ModelError."""
    try:
        import timm
    except ImportError as error:
        raise ModelError(f"tower timm:{name} needs timm. Install it with: pip install 'eyegraft[towers]'") from error
    source = _find(name)
    if not timm.is_model(source.architecture):
        raise ModelError(f"tower timm:{name}: timm {timm.__version__} knows no network {source.architecture!r}")
    config = TimmWrapperConfig(architecture=source.architecture, do_pooling=False, model_args=source.model_args)
    config.num_labels = 0
    module = TimmWrapperModel(config)
    module.train(False)
    network = module.timm_model
    if weights:
        _load(source, network, _state(source))
    config.hidden_size = network.num_features  # FastVlmConfig reads it here
    return module, _preprocess(name, {**network.pretrained_cfg, **source.settings})


@torch.no_grad()
def feature_grid(module: TimmWrapperModel, name: str, size: int) -> int:
    """Side g of the feature map [C, g, g] of an image of `size` pixels. ModelError for features of another shape."""
    shape = module(torch.zeros(1, 3, size, size)).last_hidden_state.shape
    if len(shape) != 4 or shape[1] != module.config.hidden_size or shape[2] != shape[3]:
        raise ModelError(
            f"tower timm:{name} gives features of shape {tuple(shape[1:])}, not a map of channels x rows x columns; "
            "take a CNN (a ViT goes by its Hugging Face folder)"
        )
    return int(shape[2])


def _find(name: str) -> _TimmSource:
    """Resolve the three forms of a name."""
    architecture, _, file = name.partition("@")
    if file:
        return _TimmSource(name, architecture, Path(file))
    folder = Path(name)
    if "/" in name and not folder.is_dir():
        folder = local_folder(name, ("config.json", "model.safetensors"))
    if not folder.is_dir():
        return _TimmSource(name, name)
    if not is_timm_folder(folder):
        raise ModelError(f"tower timm:{name}: {folder}/config.json is missing or names no architecture")
    config = read_object(folder / "config.json")
    settings = {**config.get("pretrained_cfg", {}), **config}
    return _TimmSource(name, config["architecture"], folder / "model.safetensors", settings, config.get("model_args"))


def _state(source: _TimmSource) -> dict[str, Tensor]:
    """The weights under timm's names."""
    if source.weights is None:
        return _pretrained(source)
    if source.weights.suffix != ".safetensors" or not source.weights.is_file():
        raise ModelError(f"tower timm:{source.name}: {source.weights} is no safetensors file with timm's weights")
    try:
        return load_file(source.weights)
    except SafetensorError as error:
        raise ModelError(f"{source.weights}: broken ({error}). Fetch it again") from error


def _pretrained(source: _TimmSource) -> dict[str, Tensor]:
    """timm's own weights, which the hub has; raises ModelError where it does not answer."""
    import timm

    published = timm.get_pretrained_cfg(source.architecture)
    repository = str(published.hf_hub_id or "") if published else ""
    problem = why_unreachable() if repository else ""
    try:
        with local_copies_only(problem):
            network = timm.create_model(source.architecture, pretrained=True, num_classes=0)
    except (RuntimeError, OSError) as error:
        reason = f"{hub_host()}: {problem}" if problem else first_line(error)
        found = (
            f"tower timm:{source.name}: timm could not get pretrained weights ({reason}). "
            f"Give a local file: timm:{source.name}@/path/to/model.safetensors"
        )
        raise ModelError(f"{found}. {other_ways('model', repository)}" if problem else found) from error
    return cast(dict[str, Tensor], network.state_dict())


def _load(source: _TimmSource, network: nn.Module, state: dict[str, Tensor]) -> None:
    """Load exactly; only the classifier, which a tower does not have, may be left over."""
    published = cast(dict[str, Any], network.pretrained_cfg)  # set by timm on every network, unknown to torch's types
    heads = published.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    state = {key: value for key, value in state.items() if not key.startswith(tuple(f"{head}." for head in heads))}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"tower timm:{source.name}: not the weights of {source.architecture}: {error}") from error


def _preprocess(name: str, settings: dict[str, Any]) -> Preprocess:
    size = settings.get("image_size") or settings["input_size"][-1]
    mean, std = settings["mean"], settings["std"]
    resample = settings.get("interpolation", "bicubic")
    if resample not in RESAMPLE:
        raise ModelError(f"tower timm:{name}: interpolation {resample!r} is none of {', '.join(RESAMPLE)}")
    return Preprocess(int(size), (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]), resample)
