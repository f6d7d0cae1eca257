"""Folders that refer to Python code of their own (`auto_map`), which is never run.

Where transformers has the same class by now, its class is used. Other folders are refused here, by transformers' own
tables, before its loaders read them.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING
from transformers.models.auto.auto_mappings import IMAGE_PROCESSOR_MAPPING_NAMES, PROCESSOR_MAPPING_NAMES
from transformers.models.auto.feature_extraction_auto import feature_extractor_class_from_name
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)
from transformers.models.auto.processing_auto import processor_class_from_name
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name
from transformers.models.auto.video_processing_auto import video_processor_class_from_name

from llm.errors import ModelError
from llm.files.untrusted_json import read_object_if_there, walk

# Name in auto_map, key of a class name, transformers' classes by model type, and its classes by name.
Known = tuple[str, str, Mapping[str, Any], Callable[[str], object]]
PROCESSORS: tuple[Known, ...] = (
    ("AutoProcessor", "processor_class", PROCESSOR_MAPPING_NAMES, processor_class_from_name),
    ("AutoImageProcessor", "image_processor_type", IMAGE_PROCESSOR_MAPPING_NAMES, get_image_processor_class_from_name),
    ("AutoFeatureExtractor", "feature_extractor_type", {}, feature_extractor_class_from_name),
    ("AutoVideoProcessor", "video_processor_type", {}, video_processor_class_from_name),
)
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")
MODELS: dict[str, Mapping[str, Any]] = {
    "AutoModelForCausalLM": MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "AutoModelForImageTextToText": MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
}
KERNEL_KEYS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")


def refuse_model_code(folder: Path, auto: str = "") -> None:
    """Raise ModelError where transformers' class `auto` would need the folder's own code for its model."""
    file = folder / "config.json"
    for place, settings in _sections(read_object_if_there(file)):
        _refuse_kernels(file, place, settings)
        code = _code(settings)
        kind = str(settings.get("model_type"))
        for name in code:
            table = MODELS.get(name, {}) if name == auto else CONFIG_MAPPING if name == "AutoConfig" else None
            if place and name == "AutoModel":  # parts of a vision model are built by AutoModel
                table = MODEL_MAPPING_NAMES
            if table is not None and kind not in table:
                raise _needs(file, place, name, code[name], f"transformers has no {name} for model_type {kind!r}")
    generate = folder / "custom_generate" / "generate.py"
    if generate.is_file():
        raise _needs(folder, "", "custom_generate", "generate.py", "it would replace the way answers are generated")


def refuse_tokenizer_code(folder: Path) -> None:
    """Raise ModelError where the folder's tokenizer needs the folder's own code."""
    file = folder / "tokenizer_config.json"
    settings = read_object_if_there(file)
    code = _code(settings, "AutoTokenizer")
    named = str(settings.get("tokenizer_class") or "").removesuffix("Fast")
    known = _model_type(folder) in TOKENIZER_MAPPING_NAMES or (
        named and (tokenizer_class_from_name(named) or tokenizer_class_from_name(f"{named}Fast"))
    )
    if "AutoTokenizer" in code and not known:
        found = f"transformers has no tokenizer class {named or 'of that name'!r}"
        raise _needs(file, "", "AutoTokenizer", code["AutoTokenizer"], found)


def refuse_processor_code(folder: Path) -> None:
    """Raise ModelError where the folder's processor, or a part of it, needs the folder's own code."""
    refuse_tokenizer_code(folder)
    kind = _model_type(folder)
    for file in (folder / name for name in (*PROCESSOR_FILES, "tokenizer_config.json", "config.json")):
        for place, settings in _sections(read_object_if_there(file)):
            code = _code(settings, "AutoProcessor")
            for name, key, table, class_of in PROCESSORS:
                named = settings.get(key)
                known = kind in table or (isinstance(named, str) and class_of(named) is not None)
                if name in code and not known:
                    raise _needs(file, place, name, code[name], f"transformers has no class of its own for {key}")


def _sections(settings: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The object and all objects inside it, each with its path."""
    yield "", settings
    yield from ((place, inner) for place, inner in walk(settings) if isinstance(inner, dict))


def _code(settings: Mapping[str, Any], default: str = "") -> dict[str, object]:
    """The references to code in a section, by the Auto class; a list belongs to `default`."""
    code = settings.get("auto_map") or {}
    return {str(key): value for key, value in code.items()} if isinstance(code, dict) else {default: code}


def _model_type(folder: Path) -> str:
    return str(read_object_if_there(folder / "config.json").get("model_type"))


def _refuse_kernels(file: Path, place: str, settings: Mapping[str, Any]) -> None:
    """Raise ModelError for kernels from the hub: a name with a slash is a repository of compiled code."""
    for key in KERNEL_KEYS:
        if "/" in str(settings.get(key, "")):
            raise _needs(file, place, key, settings[key], "it is a repository of code")


def _needs(file: Path, place: str, name: str, code: object, found: str) -> ModelError:
    where = f"{place}.auto_map" if place else "auto_map"
    return ModelError(
        f"{file}: {where}: {name} is custom code of the folder's own ({code}), which is never run, and {found}. "
        "Take a model of a kind that transformers has, or one converted to it."
    )
