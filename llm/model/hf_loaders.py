"""All calls of transformers' and peft's loaders: `from_pretrained` and `from_config` are called nowhere else.

None of them runs a folder's own code (`trust_remote_code`). Folders that need their code, and files or sizes that are
out of bounds, are refused before a loader reads them. `tests/test_pretrained.py` checks the calls in the syntax trees.
"""

from pathlib import Path
from typing import Any

from peft import PeftModel
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoProcessor,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    dynamic_module_utils,
)
from transformers.models.auto.image_processing_auto import get_image_processor_config

from llm.errors import ModelError
from llm.files.untrusted_json import read_object, read_object_if_there, refuse_oversized
from llm.model.adapter_files import read_adapter_config
from llm.model.remote_code import refuse_model_code, refuse_processor_code, refuse_tokenizer_code
from llm.model.size_limits import SizeLimit, enforce, refuse_absurd, size_limit_of

# Some loaders call others without passing `trust_remote_code` on. With a time-out of 0 transformers then refuses the
# code instead of asking on the terminal whether to run it.
dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0


def load_tokenizer(folder: Path, **options: Any) -> PreTrainedTokenizerBase:
    """The folder's tokenizer. Raises ModelError for one that needs its own code, and the libraries' errors."""
    _check_settings(folder)
    refuse_tokenizer_code(folder)
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, **options)
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
    settings: dict[str, Any] = get_image_processor_config(str(folder))
    return settings


def load_config(folder: Path, auto: str = "") -> PreTrainedConfig:
    """The folder's config without its references to code, for a model that transformers' class `auto` builds.

    Raises ModelError for one that needs its own code or has sizes that the folder's weights cannot fill, and the
    libraries' errors.
    """
    _check_settings(folder)
    refuse_model_code(folder, auto)
    config: PreTrainedConfig = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    _forget_code(config)
    return config


def load_model(
    kind: Any, folder: Path, **options: Any
) -> Any:  # an Auto or model class; a pair with output_loading_info
    """The folder's model, built by the class `kind`; `options` are those of its `from_pretrained`.

    Raises ModelError for a folder that needs its own code, has sizes that its weights cannot fill, or is an adapter,
    and the libraries' errors.
    """
    if (folder / "adapter_config.json").is_file():
        raise ModelError(f"{folder}: holds an adapter, not a model. Merge it first and name the merged folder.")
    if "gguf_file" in options:  # the config is in that file
        return kind.from_pretrained(str(folder), trust_remote_code=False, **options)
    file = folder / "config.json"
    config = load_config(folder, kind.__name__)
    if not kind.__name__.startswith("Auto"):
        config = _own_part(kind, config)
    with enforce(file, read_object(file), size_limit_of(folder)):
        return kind.from_pretrained(str(folder), config=config, trust_remote_code=False, **options)


def model_of_state(
    kind: type[PreTrainedModel],
    config: PreTrainedConfig,
    state: dict[str, Tensor],
    limit: SizeLimit | None,
    **options: Any,
) -> Any:  # a pair with output_loading_info
    """A model of transformers' class `kind` with the weights `state`, whose sizes must be within `limit`."""
    untyped: Any = kind
    with enforce(Path("config.json"), config.to_dict(), limit):
        return untyped.from_pretrained(None, config=config, state_dict=state, trust_remote_code=False, **options)


def empty_model(auto: Any, config: PreTrainedConfig, **options: Any) -> PreTrainedModel:
    """A model of a config with weights as its class initialises them, on torch's default device."""
    model: PreTrainedModel = auto.from_config(config, trust_remote_code=False, **options)
    return model


def generation_config(folder: Path) -> GenerationConfig:
    """The folder's generation config, which cannot refer to code."""
    config: GenerationConfig = GenerationConfig.from_pretrained(str(folder))
    return config


def load_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """`model` with the LoRA adapter of a folder that peft wrote; the model is changed in place.

    Raises ModelError for adapters of other kinds and for settings out of bounds, and the libraries' errors.
    """
    config = read_adapter_config(folder, [name for name, _ in model.named_modules()])
    untyped: Any = model  # peft annotates a torch module
    adapted: PeftModel = PeftModel.from_pretrained(untyped, str(folder), config=config)
    return adapted


def _check_settings(folder: Path) -> None:
    """Raise ModelError for JSON files or sizes out of bounds; a tokenizer's loader reads config.json too."""
    refuse_oversized(folder)
    file = folder / "config.json"
    refuse_absurd(file, read_object_if_there(file), size_limit_of(folder))


def _own_part(kind: Any, config: PreTrainedConfig) -> PreTrainedConfig:
    """The part of a config with several models that belongs to class `kind`."""
    parts = [config, *(part for part in vars(config).values() if isinstance(part, PreTrainedConfig))]
    return next((part for part in parts if isinstance(part, kind.config_class)), config)


def _forget_code(config: PreTrainedConfig) -> None:
    """Remove references to code from a config and its parts, so that no class of transformers finds them."""
    vars(config).pop("auto_map", None)
    for part in vars(config).values():
        if isinstance(part, PreTrainedConfig):
            _forget_code(part)
