"""The evaluation of a run on one file, without a recipe: `eyegraft eval RUN --data FILE`."""

import json
from collections.abc import Sequence
from pathlib import Path

from llm.config.yaml_loader import from_mapping
from llm.errors import ConfigError
from llm.files.regular_files import TEXT, read_text
from vlm.config import EvalConfig, parse_config

ABOUT = "about.json"  # written beside the lists by `eyegraft data identity`: {"name": .., "author": ..}
OTHERS, GENERAL = "others.json", "general.json"


def evaluation_of(
    run: str, checkpoint: str, data: str, images: str = "", limit: int = 0, overrides: Sequence[str] = ()
) -> EvalConfig:
    """The evaluation of one run on one file, written inside the run folder: image questions, or an identity's.

    A JSON list of texts is the held-out questions of `eyegraft data identity`; its other lists and the assistant's name
    are read beside it. `overrides` are keys of an eval recipe. Raises ConfigError for an unknown key, and when the name
    is not known.
    """
    values: dict[str, object] = {
        "name": f"{Path(run).name}-eval",
        "out": str(Path(run) / f"eval-{Path(data).stem}"),
        "stage": "eval",
        "run": run,
        "checkpoint": checkpoint,
    }
    if _is_list_of_texts(Path(data)):
        if images or limit:
            raise ConfigError(f"{data}: holds questions about an assistant's name; --images and --limit are for images")
        values["identity"] = _identity(Path(data), any(text.startswith("identity.name=") for text in overrides))
    else:
        values["vqa"] = {"source": {"path": data, "images": images}, "limit": limit}
    config = parse_config(from_mapping(values, overrides))
    assert isinstance(config, EvalConfig)
    return config


def _identity(data: Path, named: bool) -> dict[str, object]:
    beside = {key: str(data.with_name(name)) for key, name in (("others", OTHERS), ("general", GENERAL))}
    found = {key: path for key, path in beside.items() if Path(path).is_file()}
    if named:
        return {"paraphrases": str(data), **found}
    about = _json(data.with_name(ABOUT))
    if not isinstance(about, dict) or not isinstance(about.get("name"), str):
        raise ConfigError(f"{data}: holds questions about an assistant's name. Add the name: identity.name=NAME")
    return {"paraphrases": str(data), "name": about["name"], **found}


def _is_list_of_texts(path: Path) -> bool:
    """Whether a file is a JSON list of texts alone."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start.startswith(b"[") or start[1:].lstrip()[:1] != b'"':
        return False
    rows = _json(path)
    return isinstance(rows, list) and all(isinstance(row, str) for row in rows)


def _json(path: Path) -> object:
    try:
        return json.loads(read_text(path, TEXT, "utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
