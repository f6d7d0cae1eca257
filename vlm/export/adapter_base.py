"""The base model of an exported adapter, and the name by which peft finds it from any folder."""

import os
from itertools import pairwise
from pathlib import Path

from llm.errors import ConfigError
from llm.hubs.reference import BRANCH, HUB_ID, model_reference
from llm.model.model_folder import CONFIG_FILE, local_folder
from vlm.config import ReadyRunConfig
from vlm.model.adapter_folder import BASE
from vlm.model.forward import VlmModel
from vlm.model.runs import OpenedRun

_CACHED = "models--"  # how the hub's cache names the folder of org/name: models--org--name/snapshots/<commit>


def needs_own_base(opened: OpenedRun) -> bool:
    """Whether the adapter belongs to weights that are in no folder yet.

    They are the projector and tower of a vision run, the trained image side of a ready model, what earlier runs
    trained, and the dense equivalent of 4-bit ones.
    """
    config = opened.config
    if isinstance(config, ReadyRunConfig) and (config.tune.tower != "frozen" or config.tune.projector == "full"):
        return True
    return isinstance(opened.model, VlmModel) or bool(config.start) or config.tune.in_four_bits


def adapter_base(opened: OpenedRun, out: Path, asked: str = "") -> str:
    """What `base_model_name_or_path` says: `asked`, or the LLM's hub id, or else the absolute path of the base."""
    if asked:
        return asked
    return os.path.abspath(out / BASE) if needs_own_base(opened) else portable_name(opened.config.model.llm)


def portable_name(llm: str) -> str:
    """The hub id of a model, also of a copy in the hub's cache; the absolute path of any other folder.

    peft knows no other hub than Hugging Face's, and no revisions in a name: then it is the path of the local copy.
    """
    folder = Path(llm).expanduser()
    if not folder.is_dir():
        reference = model_reference(llm)
        if reference is None or (reference.hub == "hf" and reference.revision == BRANCH["hf"]):
            return llm if reference is None else reference.repository
        return os.path.abspath(local_folder(llm, (CONFIG_FILE,)))
    parts = Path(os.path.abspath(folder)).parts
    ids = [part for part, inner in pairwise(parts) if inner == "snapshots"]
    if ids and ids[-1].startswith(_CACHED):
        return ids[-1].removeprefix(_CACHED).replace("--", "/", 1)
    return os.path.abspath(folder)


def check_base_name(asked: str) -> None:
    """Raise ConfigError for a name that means another model in another working folder."""
    if not (os.path.isabs(asked) or HUB_ID.fullmatch(asked)):
        raise ConfigError(
            f"--base-name {asked}: peft would look for it in the folder where it is started. Give a hub id (org/name) "
            "or an absolute path"
        )
