"""The one door to the loaders of transformers and peft: no `from_pretrained` or `from_config` is called elsewhere.

Here they never run a folder's own code, folders that need theirs are refused before a loader sees them, and
so are files and sizes out of all bounds. `tests/test_pretrained.py` holds this by walking the syntax trees.
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

# Loaders call loaders, some without handing on what they were told: with no time to answer, transformers refuses code
# instead of asking on the terminal whether to run it.
dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0


def load_tokenizer(folder: Path, **options: Any) -> PreTrainedTokenizerBase:
    """The folder's tokenizer. Raises ModelError for one that needs code, and what the libraries raise."""
    _sound_settings(folder)
    refuse_tokenizer_code(folder)
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, **options)
    return tokenizer


def load_processor(folder: Path) -> Any:  # one of a hundred classes
    """The folder's processor. Raises ModelError for one that needs code, and what the libraries raise."""
    _sound_settings(folder)
    refuse_processor_code(folder)
    return AutoProcessor.from_pretrained(str(folder), trust_remote_code=False)


def image_processor_settings(folder: Path) -> dict[str, Any]:
    """What the folder says of its pictures; empty when it says nothing. Raises as `load_processor`."""
    _sound_settings(folder)
    refuse_processor_code(folder)
    settings: dict[str, Any] = get_image_processor_config(str(folder))
    return settings


def load_config(folder: Path, auto: str = "") -> PreTrainedConfig:
    """The folder's config, all names of code taken out, for a model that transformers' class `auto` makes.

    Raises ModelError for one that needs code or is larger than the folder's weights, and what the libraries raise.
    """
    _sound_settings(folder)
    refuse_model_code(folder, auto)
    config: PreTrainedConfig = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    _forget_code(config)
    return config


def load_model(kind: Any, folder: Path, **options: Any) -> Any:  # an Auto class or a model's; a pair with loading info
    """The folder's model, as `kind` makes it; `options` are those of its `from_pretrained`.

    Raises ModelError for a folder that needs code, is larger than its weights or is an adapter, and what the libraries
    raise.
    """
    if (folder / "adapter_config.json").is_file():
        raise ModelError(f"{folder}: holds an adapter, not a whole model. Merge it first and name the merged folder.")
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
) -> Any:  # a pair with loading info
    """A model of transformers' own class holding tensors that were read by us from a folder that gives `limit`."""
    maker: Any = kind
    with enforce(Path("config.json"), config.to_dict(), limit):
        return maker.from_pretrained(None, config=config, state_dict=state, trust_remote_code=False, **options)


def empty_model(auto: Any, config: PreTrainedConfig, **options: Any) -> PreTrainedModel:
    """A model of a config without weights, where torch's default device says."""
    model: PreTrainedModel = auto.from_config(config, trust_remote_code=False, **options)
    return model


def generation_config(folder: Path) -> GenerationConfig:
    """How the folder generates; it has no way to name code."""
    config: GenerationConfig = GenerationConfig.from_pretrained(str(folder))
    return config


def put_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """`model`, changed in place, with the LoRA adapter of a folder that peft wrote.

    Raises ModelError for adapters of other kinds and settings out of all bounds, and what the libraries raise.
    """
    config = read_adapter_config(folder, [name for name, _ in model.named_modules()])
    whole: Any = model
    adapted: PeftModel = PeftModel.from_pretrained(whole, str(folder), config=config)
    return adapted


def _sound_settings(folder: Path) -> None:
    """Raise ModelError for JSON files out of bounds and absurd sizes: a tokenizer's loader reads config.json too."""
    refuse_oversized(folder)
    file = folder / "config.json"
    refuse_absurd(file, read_object_if_there(file), size_limit_of(folder))


def _own_part(kind: Any, config: PreTrainedConfig) -> PreTrainedConfig:
    """The part of a two-tower config that a class of one tower reads."""
    parts = [config, *(part for part in vars(config).values() if isinstance(part, PreTrainedConfig))]
    return next((part for part in parts if isinstance(part, kind.config_class)), config)


def _forget_code(config: PreTrainedConfig) -> None:
    """Take the names of code out of a config and its parts: then no class of transformers can come upon them."""
    vars(config).pop("auto_map", None)
    for part in vars(config).values():
        if isinstance(part, PreTrainedConfig):
            _forget_code(part)
