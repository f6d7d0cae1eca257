"""Whether the model that an adapter is merged into is the one that its config names."""

import os
from pathlib import Path

from llm.log import logger
from llm.model.model_folder import ADAPTER_FILE
from vlm.export.adapter_base import portable_name
from vlm.model.adapter_folder import AdapterFolder


def compare_bases(base: str, adapter: AdapterFolder) -> str:
    """Log what is not certain, and return it: an adapter for another model of equal shapes merges without an error.

    `base` is a folder or hub id. Certain is the same hub id or the same folder; a copy is only known by its last name.
    """
    found = _doubt(base, adapter)
    if found:
        logger.warning(f"{adapter.path}/{ADAPTER_FILE} {found}")
    return found


def _doubt(base: str, adapter: AdapterFolder) -> str:
    """The end of a sentence; empty where both are the same."""
    named = adapter.named_base
    if not named:
        return f"names no base: that it belongs to {base} is not known"
    if _same(base, named, adapter):
        return ""
    if _last(base) == _last(named):
        return f"names {named} as its base; {base} is taken for a copy of it, by its name alone"
    return (
        f"names {named} as its base, not {base}. If that is another model, the merged one answers wrongly: name the "
        "adapter's own base"
    )


def _same(base: str, named: str, adapter: AdapterFolder) -> bool:
    """Whether both are the same hub id or lead to the same folder; names may be relative to where peft was started."""
    if portable_name(base).casefold() == portable_name(named).casefold():
        return True
    folder = Path(base).expanduser()
    beside = [Path(named).expanduser(), *(parent / named for parent in adapter.path.absolute().parents)]
    return any(path.is_dir() and folder.is_dir() and os.path.samefile(path, folder) for path in beside)


def _last(name: str) -> str:
    return portable_name(name).rstrip("/").rpartition("/")[2].casefold()
