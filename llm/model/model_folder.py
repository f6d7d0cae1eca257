"""From a local path or hub id to a folder whose files may be read, and to its config.json."""

import re
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download

from llm.activity import activity
from llm.errors import ModelError
from llm.files.regular_files import check_folder, exists
from llm.files.untrusted_json import read_object
from llm.files.windows_paths import windows_advice
from llm.hub_access import hub_host, other_ways, why_unreachable
from llm.library_errors import first_line

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
TEXT_FILES = ("*.json", "*.jinja", "*.model", "*.txt")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
CONFIG_FILE = "config.json"
ADAPTER_FILE = "adapter_config.json"  # of peft
WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
NESTED_OR_OTHER = ("*/*", "consolidated*")  # original/, onnx/ and Mistral's second copy would double the download


def local_folder(path: str, patterns: tuple[str, ...]) -> Path:
    """A local folder as it is, or the local copy of a hub id's files that match `patterns`, downloaded if needed.

    Raises ModelError for a path that is neither, and when the hub cannot be reached.
    """
    folder = Path(path).expanduser()
    if exists(folder) and folder.is_dir():
        refuse_special_files(folder)
        return folder
    if not HUB_ID.fullmatch(path):
        advice = windows_advice(path) or "Give the folder that holds config.json."
        raise ModelError(f"{path}: no such folder, and not a hub id (org/name). {advice}")
    with activity(f"asking {hub_host()} for {path}"):
        problem = why_unreachable()
        try:
            return _hub_copy(path, patterns, cached=bool(problem))
        except (OSError, ValueError) as cause:
            found = problem or first_line(cause).rstrip(". ")
            raise ModelError(
                f"{path}: no such folder, and as a hub id it could not be fetched from {hub_host()}: {found}. "
                f"{_needed(patterns)}{other_ways('model', path, _hf_arguments(patterns))}"
            ) from cause


def _hub_copy(path: str, patterns: tuple[str, ...], cached: bool) -> Path:
    """The local copy of a hub id's files, downloaded if needed; with `cached` only what is here already."""
    ignored = [*NESTED_OR_OTHER]
    copy = Path(snapshot_download(path, allow_patterns=[*patterns], ignore_patterns=ignored, local_files_only=cached))
    if "*.safetensors" in patterns and not has_weights(copy):
        others = ["pytorch_model*"]
        snapshot_download(path, allow_patterns=others, ignore_patterns=ignored, local_files_only=cached)
    return copy


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
