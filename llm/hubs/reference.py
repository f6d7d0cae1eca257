"""How recipes and commands name models and data of a hub.

Qwen/Qwen3-0.6B                             a model of the Hugging Face hub, where no folder has this name
hf:Qwen/Qwen3-0.6B@v1.0                     the same, a branch, tag or commit of it
modelscope:Qwen/Qwen3-0.6B                  a model of ModelScope
hf:datasets/org/name                        the data files of a data set, of the split that `split` names
modelscope:datasets/org/name@v2/train.jsonl one file or folder of a data set
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from llm.errors import ConfigError

Hub = Literal["hf", "modelscope"]
Kind = Literal["model", "dataset"]
HUBS: tuple[Hub, ...] = get_args(Hub)
BRANCH: dict[Hub, str] = {"hf": "main", "modelscope": "master"}  # where no revision is named
_PART = r"[A-Za-z0-9][\w.-]{0,95}"
HUB_ID = re.compile(rf"{_PART}/{_PART}")  # as other programs name a model of the Hugging Face hub
_REFERENCE = re.compile(
    rf"(?:(?P<hub>hf|modelscope):)?(?P<data>datasets/)?(?!datasets/)(?P<name>{_PART}/{_PART})(?:@(?P<revision>\w[\w.-]{{0,63}}))?"
    r"(?P<inside>(?:/[^/\\\0]+)+)?/?"
)
DATA = "datasets/"


@dataclass(frozen=True, slots=True)
class HubReference:
    """A model or data set of a hub. `inside`: a file or folder of it; empty for what is needed of all."""

    hub: Hub
    kind: Kind
    repository: str
    revision: str
    inside: str = ""

    def __str__(self) -> str:
        data = DATA if self.kind == "dataset" else ""
        revision = "" if self.revision == BRANCH[self.hub] else f"@{self.revision}"
        return f"{self.hub}:{data}{self.repository}{revision}{f'/{self.inside}' if self.inside else ''}"


def has_prefix(text: str) -> bool:
    """Whether the text names a hub: it begins with `hf:` or `modelscope:`."""
    return text.startswith(tuple(f"{hub}:" for hub in HUBS))


def model_reference(text: str) -> HubReference | None:
    """The model that a text names; None for one without a prefix that is no `owner/name`. Raises ConfigError."""
    found = _read(text)
    if found is not None and found.kind == "dataset":
        raise ConfigError(f"{text}: a data set of a hub, not a model. Name a model, such as {found.hub}:org/name")
    if found is not None and found.inside:
        if has_prefix(text):
            raise ConfigError(f"{text}: a model is a complete repository: write {found.hub}:{found.repository}")
        return None  # a path of three parts, which is not there
    return found


def data_reference(text: str) -> HubReference | None:
    """The data set that a text with a prefix names; None without one. Raises ConfigError."""
    if not has_prefix(text):
        return None
    found = _read(text)
    assert found is not None
    if found.kind == "model":
        raise ConfigError(f"{text}: data of a hub is written {found.hub}:datasets/{found.repository}")
    return found


def _read(text: str) -> HubReference | None:
    found = _REFERENCE.fullmatch(text)
    if found is None or "--" in found["name"] or ".." in text:
        if has_prefix(text):
            raise ConfigError(
                f"{text}: no name of a hub. Write hf:owner/name or modelscope:owner/name, for data "
                "hf:datasets/owner/name; a revision follows the name after @, a file of a data set after that"
            )
        return None
    hub: Hub = "modelscope" if found["hub"] == "modelscope" else "hf"
    if found["data"] and not found["hub"]:
        return None  # a path: datasets/org/name
    kind: Kind = "dataset" if found["data"] else "model"
    return HubReference(hub, kind, found["name"], found["revision"] or BRANCH[hub], (found["inside"] or "").strip("/"))
