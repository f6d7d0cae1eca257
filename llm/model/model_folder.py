"""From a local path or hub id to a folder whose files may be read, and to its config.json."""

import os
from collections.abc import Sequence
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from llm.errors import ModelError
from llm.files.regular_files import check_folder, exists
from llm.files.untrusted_json import read_object
from llm.files.windows_paths import windows_advice
from llm.hub_access import modelscope_ways, other_ways
from llm.hubs.hugging_face import matching
from llm.hubs.listing import HubFailure, HubUnreachable
from llm.hubs.reference import HubReference, has_prefix, model_reference
from llm.hubs.snapshot import host_of, local_copy

TEXT_FILES = ("*.json", "*.jinja", "*.model", "*.txt")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
CONFIG_FILE = "config.json"
ADAPTER_FILE = "adapter_config.json"  # of peft
WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
NESTED_OR_OTHER = ("*/*", "consolidated*")  # original/, onnx/ and Mistral's second copy would double the download


def local_folder(path: str, patterns: tuple[str, ...]) -> Path:
    """A local folder as it is, or the local copy of a hub's files that match `patterns`, fetched if needed.

    Once found, a copy is not asked for again in this process, whose parts so come from one commit. Raises ModelError
    for a path that is neither, and for what the hub does not have or give; ConfigError for a name that is no hub's.
    """
    folder = Path(path).expanduser()
    if exists(folder) and folder.is_dir():
        refuse_special_files(folder)
        return folder
    reference = model_reference(path)
    if reference is None:
        advice = windows_advice(path) or "Give the folder that holds config.json."
        raise ModelError(f"{path}: no such folder, and not a hub id (org/name). {advice}")
    where = (host_of(reference), constants.HF_HUB_CACHE, os.environ.get("MODELSCOPE_CACHE", ""))
    try:
        return _copy(reference, patterns, where)
    except HubUnreachable as cause:
        host, ways = host_of(reference), _other_ways(reference, patterns)
        if has_prefix(path):
            raise ModelError(f"{path}: could not be fetched from {host}: {cause}. {_needed(patterns)}{ways}") from cause
        raise ModelError(
            f"{path}: no such folder, and as a hub id it could not be fetched from {host}: {cause}. "
            f"{_needed(patterns)}{ways}"
        ) from cause
    except HubFailure as cause:
        raise ModelError(str(cause)) from cause


def named_folder(text: str) -> Path:
    """What a command's MODEL names: a run, model or adapter on this machine as it is, or one of a hub, fetched.

    A bare `owner/name` is a hub's only where there is no folder `owner` here: else it is a path that is mistyped.
    """
    path = Path(text).expanduser()
    of_hub = has_prefix(text) or (not path.parent.exists() and model_reference(text) is not None)
    return local_folder(text, (*TEXT_FILES, "*.safetensors")) if of_hub else Path(text)


@cache
def _copy(reference: HubReference, patterns: tuple[str, ...], where: tuple[str, ...]) -> Path:
    """The local copy. `where`: the hub and the caches, so that others are asked when these change."""
    return local_copy(reference, lambda names: needed_files(names, patterns))


def needed_files(names: Sequence[str], patterns: tuple[str, ...]) -> list[str]:
    """The files of a model that match; where safetensors are wanted and there are none, torch's own files instead."""
    found = matching(names, patterns, NESTED_OR_OTHER)
    if "*.safetensors" in patterns and not any(fnmatch(name, "*.safetensors") for name in found):
        found += matching(names, ("pytorch_model*",), NESTED_OR_OTHER)
    return found


def _other_ways(reference: HubReference, patterns: tuple[str, ...]) -> str:
    if reference.hub == "hf":
        return other_ways("model", reference.repository, _hf_arguments(patterns))
    return modelscope_ways(reference.kind, reference.repository)


def _needed(patterns: tuple[str, ...]) -> str:
    return "Only config.json is needed here. " if patterns == (CONFIG_FILE,) else ""


def _hf_arguments(patterns: tuple[str, ...]) -> str:
    """Arguments of `hf download` for the files that match; empty where weights are among them: all are wanted."""
    if any("safetensors" in pattern for pattern in patterns):
        return ""
    files = [pattern for pattern in patterns if "*" not in pattern]
    globs = [f"'{pattern}'" for pattern in patterns if "*" in pattern]
    return "".join(f" {word}" for word in (*files, *(["--include", *globs] if globs else [])))


def refuse_special_files(folder: Path) -> None:
    """Raise ModelError for pipes and devices, from which a library would wait or read without end."""
    try:
        check_folder(folder, (*TEXT_FILES, *WEIGHT_FILES, "*.bin"))
    except OSError as cause:
        raise ModelError(f"{cause.filename}: {cause.strerror}. Copy or download the folder again.") from cause


def has_weights(folder: Path) -> bool:
    """Whether the folder has weights in a format that can be loaded."""
    return any(True for pattern in WEIGHT_FILES for _ in folder.glob(pattern))


def read_model_config(path: str, folder: Path, weights: bool = True) -> dict[str, Any]:
    """The config.json of a model folder. `weights`: whether the folder must have any.

    Raises ModelError for an adapter's folder, and where config.json, its model_type or the weights are missing.
    """
    if (folder / "adapter_config.json").is_file():
        raise ModelError(f"{path}: holds an adapter, not a model. Merge it first and name the merged folder.")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{path}: no config.json in it. Give a Hugging Face model folder.")
    if weights and not has_weights(folder):
        raise ModelError(
            f"{path}: no weights in it (looked for {' and '.join(WEIGHT_FILES)}). Was the download cut off, or left as "
            "Git LFS pointers? A GGUF file must be converted to safetensors first."
        )
    config = read_object(folder / "config.json")
    if not isinstance(config.get("model_type"), str):
        raise ModelError(f"{path}: config.json names no model_type. Give a Hugging Face model folder.")
    return config
