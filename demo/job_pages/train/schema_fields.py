"""The settings of a recipe as fields of a form: made from the schema that validates recipes, each with its own help."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from demo.job_pages.parts.value_text import written
from llm.config.schema import TextRunConfig
from llm.config.yaml_loader import from_mapping
from vlm.config import VlmRunConfig

SECTIONS = ("data", "model", "tune", "optim", "train", "parallel")
TRACK = "track"  # the one setting that is in no section
# What the form has elsewhere, or the service itself sets: files, models.
ELSEWHERE = frozenset(
    {
        *("model.llm", "model.tower", "model.projector_weights"),
        *("data.sources", "data.validation_sources", "data.cache", "train.evaluate"),
    }
)
LONG = frozenset({"data.system", "train.probes"})  # several lines
BOUNDS = {"minimum": "≥ ", "exclusiveMinimum": "> ", "maximum": "≤ ", "exclusiveMaximum": "< "}
SEPARATOR = re.compile(r"[,，\n]")
Kind = Literal["choice", "integer", "number", "text", "list", "values"]
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SettingField:
    """A key of a recipe: what it takes, what it is when left out, and its description in English.

    `vision`: only runs with images have it. `choices` are empty where anything of its kind may be given.
    """

    key: str
    kind: Kind
    choices: tuple[str, ...]
    default: str
    bounds: str
    about: str
    vision: bool

    @property
    def section(self) -> str:
        """The section of the recipe; of the one setting that is in none, its key."""
        return self.key.partition(".")[0]

    def value(self, text: str) -> object:
        """What a text means in a recipe, as on the command line: text that is of no such kind stays text.

        Raises ConfigError for `values` that are not YAML.
        """
        if self.kind == "text" or (self.kind == "choice" and self.choices and all(map(_is_word, self.choices))):
            return text
        if self.kind == "list" and not text.startswith("["):
            return [_scalar(part.strip()) for part in SEPARATOR.split(text) if part.strip()]
        return _yaml(text) if self.kind in ("values", "list") else _scalar(text)


@cache
def setting_fields() -> Mapping[str, SettingField]:
    """The fields by their keys, in the order of the schema."""
    vision, text = dict(_keys(VlmRunConfig.model_json_schema())), dict(_keys(TextRunConfig.model_json_schema()))
    return {key: _field(key, found, key not in text) for key, found in vision.items() if key not in ELSEWHERE}


def _keys(root: Schema) -> Iterator[tuple[str, Schema]]:
    for section in SECTIONS:
        name = _reference(root["properties"][section])
        yield from ((f"{section}.{key}", found) for key, found in root["$defs"][name]["properties"].items())
    yield TRACK, root["properties"][TRACK]


def _reference(found: Schema) -> str:
    options = [found, *found.get("allOf", []), *found.get("anyOf", [])]
    return next(str(one["$ref"]).rpartition("/")[2] for one in options if "$ref" in one)


def _field(key: str, found: Schema, vision: bool) -> SettingField:
    kind, choices = _kind(found)
    default = found.get("default")
    bounds = [f"{sign}{part[name]:g}" for part in _parts(found) for name, sign in BOUNDS.items() if name in part]
    shown = "" if default in (None, [], ()) else written(default)
    return SettingField(key, kind, choices, shown, ", ".join(bounds), found.get("description", ""), vision)


def _kind(found: Schema) -> tuple[Kind, tuple[str, ...]]:
    choices = tuple(choice for part in _parts(found) for choice in _choices(part))
    if choices:
        return "choice", choices
    kinds = [part.get("type") for part in _parts(found) if part.get("type") != "null"]
    if kinds[0] == "array":
        items = found.get("items", {})
        return ("values" if "$ref" in items or items.get("type") == "array" else "list"), ()
    known: dict[object, Kind] = {"integer": "integer", "number": "number", "string": "text"}
    return known.get(kinds[0], "values"), ()


def _parts(found: Schema) -> list[Schema]:
    return list(found.get("anyOf", [found]))


def _choices(part: Schema) -> list[str]:
    if part.get("type") == "boolean":
        return ["true", "false"]
    values = part.get("enum", [part["const"]] if "const" in part else [])
    return [written(value) for value in values]


def _is_word(choice: str) -> bool:
    return _scalar(choice) == choice


def _scalar(text: str) -> object:
    """A number or a truth value as YAML reads it; else the text."""
    found = _yaml(text) if re.fullmatch(r"[-+.\w]+", text) else text
    return found if isinstance(found, bool | int | float) else text


def _yaml(text: str) -> object:
    return from_mapping({}, [f"value={text}"]).values["value"]
