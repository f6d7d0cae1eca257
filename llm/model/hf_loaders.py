"""All calls of transformers' and peft's loaders: `from_pretrained` and `from_config` are called nowhere else.

None of them runs a folder's own code (`trust_remote_code`). Folders that need their code, and files or sizes that are
out of bounds, are refused before a loader reads them. `tests/test_pretrained.py` checks the calls in the syntax trees.
"""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import PeftModel
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    dynamic_module_utils,
)
from transformers.models.auto.image_processing_auto import get_image_processor_config

from llm.devices import on_cpu
from llm.errors import ModelError
from llm.files.untrusted_json import read_object, read_object_if_there, refuse_oversized
from llm.model.adapter_files import grow_vocabulary, read_adapter_config
from llm.model.remote_code import refuse_model_code, refuse_processor_code, refuse_tokenizer_code
from llm.model.size_limits import SizeLimit, enforce, refuse_absurd, size_limit_of

# Some loaders call others without passing `trust_remote_code` on. With a time-out of 0 transformers then refuses the
# code instead of asking on the terminal whether to run it.
dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0

# transformers imports deepspeed, where it is installed, to save a model; without a card deepspeed warns about that.
if on_cpu():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")

AUTO_CLASSES = (AutoModelForCausalLM, AutoModelForImageTextToText)
ModelClass = type[AutoModelForCausalLM] | type[AutoModelForImageTextToText] | type[PreTrainedModel]


@dataclass(frozen=True, slots=True)
class LoadingReport:
    """Names of weights that the folder lacks, that the model lacks, and whose shapes differ."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]


def load_tokenizer(folder: Path, **options: object) -> PreTrainedTokenizerBase:
    """The folder's tokenizer. Raises ModelError for one that needs its own code, and the libraries' errors."""
    _check_settings(folder)
    refuse_tokenizer_code(folder)
    tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, **options)
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def load_processor(folder: Path) -> Any:  # one of a hundred classes
    """The folder's processor. Raises ModelError for one that needs its own code, and the libraries' errors."""
    _check_settings(folder)
    refuse_processor_code(folder)
    return AutoProcessor.from_pretrained(str(folder), trust_remote_code=False)


def image_processor_settings(folder: Path) -> dict[str, Any]:
    """The folder's image processor config; empty without one. Raises as `load_processor`."""
    _check_settings(folder)
    refuse_processor_code(folder)
    return dict(get_image_processor_config(str(folder)))


def load_config(folder: Path, auto: str = "") -> PreTrainedConfig:
    """The folder's config without its references to code, for a model that transformers' class `auto` builds.

    Raises ModelError for one that needs its own code or has sizes that the folder's weights cannot fill, and the
    libraries' errors.
    """
    _check_settings(folder)
    refuse_model_code(folder, auto)
    config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    assert isinstance(config, PreTrainedConfig)
    _forget_code(config)
    return config


def load_model(kind: ModelClass, folder: Path, **options: object) -> PreTrainedModel:
    """The folder's model, built by the class `kind`; `options` are those of its `from_pretrained`.

    Raises ModelError for a folder that needs its own code, has sizes that its weights cannot fill, or is an adapter,
    and the libraries' errors.
    """
    return _model_of_folder(kind, folder, options)[0]


def load_model_with_report(kind: ModelClass, folder: Path, **options: object) -> tuple[PreTrainedModel, LoadingReport]:
    """As `load_model`, and which weights of the model and of the folder do not correspond."""
    return _model_of_folder(kind, folder, options)


def _model_of_folder(
    kind: ModelClass, folder: Path, options: dict[str, object]
) -> tuple[PreTrainedModel, LoadingReport]:
    if (folder / "adapter_config.json").is_file():
        raise ModelError(f"{folder}: holds an adapter, not a model. Merge it first and name the merged folder.")
    if "gguf_file" in options:  # the config is in that file
        return _from_pretrained(kind, str(folder), options)
    file = folder / "config.json"
    config = load_config(folder, kind.__name__)
    if kind not in AUTO_CLASSES:
        config = _own_part(kind, config)
    with enforce(file, read_object(file), size_limit_of(folder)):
        return _from_pretrained(kind, str(folder), options | {"config": config})


def model_of_state(
    kind: type[PreTrainedModel],
    config: PreTrainedConfig,
    state: dict[str, Tensor],
    limit: SizeLimit | None,
    **options: object,
) -> tuple[PreTrainedModel, LoadingReport]:
    """A model of transformers' class `kind` with the weights `state`, whose sizes must be within `limit`."""
    with enforce(Path("config.json"), config.to_dict(), limit):
        return _from_pretrained(kind, None, options | {"config": config, "state_dict": state})


def _from_pretrained(
    kind: Any, source: str | None, options: dict[str, object]
) -> tuple[PreTrainedModel, LoadingReport]:
    """transformers' loader, whose annotations do not know that it returns a pair here."""
    model, info = kind.from_pretrained(source, trust_remote_code=False, output_loading_info=True, **options)
    assert isinstance(model, PreTrainedModel)
    mismatched = tuple(name for name, *_ in info["mismatched_keys"])
    return model, LoadingReport(tuple(info["missing_keys"]), tuple(info["unexpected_keys"]), mismatched)


def empty_model(auto: Any, config: PreTrainedConfig, **options: object) -> PreTrainedModel:  # an Auto class
    """A model of a config with weights as its class initialises them, on torch's default device."""
    model = auto.from_config(config, trust_remote_code=False, **options)
    assert isinstance(model, PreTrainedModel)
    return model


def generation_config(folder: Path) -> GenerationConfig:
    """The folder's generation config, which cannot refer to code."""
    config = GenerationConfig.from_pretrained(str(folder))
    assert isinstance(config, GenerationConfig)
    return config


def load_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """`model` with the LoRA adapter of a folder that peft wrote; the model is changed in place.

    Its embeddings grow where the adapter has more. Raises ModelError for adapters of other kinds or vocabularies and
    for settings out of bounds, and the libraries' errors.
    """
    config = read_adapter_config(folder, [name for name, _ in model.named_modules()])
    grow_vocabulary(model, folder)
    with warnings.catch_warnings():
        # peft 0.21 reads a name that transformers 5.23 will drop; no one here can change that.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        adapted = PeftModel.from_pretrained(model, str(folder), config=config)
    assert isinstance(adapted, PeftModel)
    return adapted


def _check_settings(folder: Path) -> None:
    """Raise ModelError for JSON files or sizes out of bounds; a tokenizer's loader reads config.json too."""
    refuse_oversized(folder)
    file = folder / "config.json"
    refuse_absurd(file, read_object_if_there(file), size_limit_of(folder))


def _own_part(kind: ModelClass, config: PreTrainedConfig) -> PreTrainedConfig:
    """The part of a config with several models that belongs to class `kind`."""
    assert issubclass(kind, PreTrainedModel) and kind.config_class is not None
    wanted = kind.config_class
    parts = [config, *(part for part in vars(config).values() if isinstance(part, PreTrainedConfig))]
    return next((part for part in parts if isinstance(part, wanted)), config)


def _forget_code(config: PreTrainedConfig) -> None:
    """Remove references to code from a config and its parts, so that no class of transformers finds them."""
    vars(config).pop("auto_map", None)
    for part in vars(config).values():
        if isinstance(part, PreTrainedConfig):
            _forget_code(part)
