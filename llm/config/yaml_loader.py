"""Read a YAML recipe into plain values with their line numbers, validate it against a schema, write it as YAML.

Only the core types of YAML 1.2 are read: `1e-5` is a number, `no` is text, `010` is ten, a date is text. Duplicate
keys, tags of other types, anchors and aliases are errors.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from llm.config.schema import Section
from llm.config.validation_messages import Location, explain, one_a_value
from llm.errors import ConfigError
from llm.files.regular_files import RECIPE, read_text

Keys = tuple[str, ...]  # path of a value; the index in a list is written as text
SectionT = TypeVar("SectionT", bound=Section)

COMMAND_LINE = "command line"
MAPPING = "recipe"  # the place that messages give for values from a program
OVERRIDES = "overrides"
_TAG = "tag:yaml.org,2002:"
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
ESCAPES = "in \"double quotes\" a backslash begins an escape: write paths in 'single quotes', or with slashes"
_ESCAPED = re.compile(r"[A-Za-z]:[^ ]*[\a\b\t\n\v\f\r\x1b]")  # a path of Windows whose backslashes were read
_PATHS = {"path", "images", "image", "llm", "tower", "projector_weights", "out", "from", "run", "cache"}  # keys
_SCALARS: dict[str, Callable[[str], object]] = {
    _TAG + "str": str,
    _TAG + "null": lambda text: None,
    _TAG + "bool": lambda text: text.lower() == "true",
    _TAG + "int": int,
    _TAG + "float": float,
}


class _Loader(yaml.SafeLoader):
    """Resolves the core types; `_Reader` makes values of nodes, PyYAML's constructors never do."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  # how PyYAML removes the types of YAML 1.1


class _Dumper(yaml.SafeDumper):
    """Quotes text that the loader would otherwise read as another type."""


# In this order: an integer matches the pattern of floats too.
for _kind, _pattern, _first in (
    ("null", re.compile(r"(~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"(true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", re.compile(r"[-+]?[0-9]+$"), list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(_TAG + _kind, _pattern, _first)
_Dumper.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+.0123456789"))


@dataclass(frozen=True, slots=True)
class Document:
    """A recipe as plain values, and the place of each: `file:line`, or the command line."""

    values: dict[str, object]
    places: dict[Keys, str]

    def place(self, keys: Iterable[object]) -> str:
        """The place of the value at `keys`; of its section when the value is missing."""
        path = tuple(str(key) for key in keys)
        while path not in self.places:
            path = path[:-1]
        return self.places[path]


def load_yaml(path: Path, overrides: Sequence[str] = ()) -> Document:
    """Read one recipe and apply `key.path=value` overrides in order.

    Raises ConfigError for a file that is not a recipe, and for an override into a single value or past the end of a
    list. Unknown keys are reported by `validate`.
    """
    document = _read_file(path)
    for override in overrides:
        document = _override(document, override)
    return document


def from_mapping(values: Mapping[str, object], overrides: Sequence[str] = ()) -> Document:
    """A recipe given as a mapping; paths become text. Raises ConfigError for values that JSON cannot hold."""
    plain = _plain(values, MAPPING)
    if not isinstance(plain, dict):
        raise ConfigError(f"{MAPPING}: found {type(values).__name__}; give a mapping of keys to values")
    return reduce(_override, overrides, Document(plain, {(): MAPPING}))


def with_values(document: Document, values: Mapping[str, object]) -> Document:
    """The document with the value at each `key.path` replaced or added, in order. Raises ConfigError as `load_yaml`."""
    for path, value in values.items():
        keys = tuple(path.split("."))
        if not all(keys):
            raise ConfigError(f"{OVERRIDES}: found {path!r}; write a key's path, for example train.batch")
        document = _with_value(document, keys, _plain(value, f"{OVERRIDES}: {path}"), OVERRIDES)
    return document


def _plain(value: object, place: str) -> object:
    """The value after a round trip through JSON: tuples become lists, paths become text."""
    try:
        return json.loads(json.dumps(value, default=os.fspath))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{place}: {error}; a recipe holds text, numbers, lists and mappings") from error


def validate(document: Document, model: type[SectionT]) -> SectionT:
    """The document as a `model`. Raises one ConfigError that lists every error with its place and advice."""
    try:
        # Through JSON, whose strict mode accepts a list for a tuple but neither "16" nor true for a number.
        return model.model_validate_json(json.dumps(document.values), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        lines = [f"{document.place(place)}: {message}" for place, message in _explained(error, document, model)]
        raise ConfigError("\n".join(lines)) from error


def mistakes(document: Document, model: type[Section]) -> list[tuple[Location, str]]:
    """What `validate` would refuse, in the order of the recipe: where it is, and `key: what was found; what to do`."""
    try:
        model.model_validate_json(json.dumps(document.values), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        return _explained(error, document, model)
    return []


def _explained(error: ValidationError, document: Document, model: type[Section]) -> list[tuple[Location, str]]:
    """The errors, in the order of the file."""
    errors = one_a_value(error.errors(), model)
    # A list whose only entry is invalid is also reported as "too short"; only the entry's own error helps.
    inner = {found["loc"][:length] for found in errors for length in range(len(found["loc"]))}
    shown = [found for found in errors if found["type"] != "too_short" or found["loc"] not in inner]
    order = list(dict.fromkeys(document.places.values()))
    shown.sort(key=lambda found: order.index(document.place(found["loc"])))
    return [(found["loc"], explain(found, model)) for found in shown]


def resolve_yaml(config: Section) -> str:
    """The recipe with all defaults as YAML, from which `load_yaml` and `validate` make an equal recipe."""
    return yaml_text(config.model_dump(mode="json", by_alias=True))


def yaml_text(values: Mapping[str, object]) -> str:
    """Plain values as YAML; text that the loader would read as another type is quoted."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _read_file(path: Path) -> Document:
    try:
        text = read_text(path, RECIPE, "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: found bytes that are not UTF-8 text; save the recipe as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; name a readable YAML file") from error
    if path.suffix == ".py":
        raise ConfigError(
            f"{path}: found a Python file, as XTuner's configs are; a recipe is YAML. `eyegraft ls` lists recipes to "
            "start from, docs/how-to/from-xtuner.md has the keys"
        )
    node = _compose(text, str(path))
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}: found no `key: value` pairs; see `eyegraft ls` for recipes to start from")
    reader = _Reader(str(path))
    values = reader.mapping(node, ())
    return Document(values, reader.places | {(): str(path)})


def _compose(text: str, source: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark and not source.startswith(COMMAND_LINE) else ""
        raise ConfigError(f"{source}{line}: not YAML: {_problem(error)}{_hint(error)}") from error
    except RecursionError as error:
        raise ConfigError(f"{source}: nested too deeply; a recipe is a few levels deep") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not YAML: {error}; quote text that holds special characters") from error


def _problem(error: yaml.MarkedYAMLError) -> str:
    """What PyYAML found; a problem that begins with `but` goes on from its context."""
    problem = error.problem or error.context or ""
    return f"{error.context}, {problem}" if problem.startswith("but ") and error.context else problem


def _hint(error: yaml.MarkedYAMLError) -> str:
    if "\\t" in (error.problem or ""):
        return "; indent with spaces, not tabs"
    if (error.problem or "").startswith("but "):  # another document
        return "; a recipe is one document: remove what follows `---`"
    if "escape character" in (error.problem or ""):
        return f"; {ESCAPES}"
    return "; check the indentation, and quote text that holds `: `, `#`, `{`, `[` or `@`"


class _Reader:
    """Makes plain values of the nodes of one file and records the line of each."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.places: dict[Keys, str] = {}
        self._seen: set[int] = set()

    def value(self, node: yaml.Node, keys: Keys) -> object:
        if id(node) in self._seen:
            raise ConfigError(f"{self._line(node)}: found an alias (`*name`); write the value out")
        self._seen.add(id(node))
        self.places.setdefault(keys, self._line(node))
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, keys)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*keys, str(index))) for index, item in enumerate(node.value)]
        if keys and keys[-1] in _PATHS and isinstance(node, yaml.ScalarNode) and _ESCAPED.match(node.value):
            raise ConfigError(
                f"{self._line(node)}: found {node.value!r}, a path whose backslashes were read; {ESCAPES}"
            )
        return self._scalar(node)

    def mapping(self, node: yaml.MappingNode, keys: Keys) -> dict[str, object]:
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            place = (*keys, key)
            if key in values:
                raise ConfigError(
                    f"{self._line(key_node)}: {'.'.join(place)}: duplicate key; "
                    f"the first is at {self.places[place]}. Keep one"
                )
            self.places[place] = self._line(key_node)
            values[key] = self.value(value_node, place)
        return values

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise ConfigError(f"{self._line(node)}: found a key that is a list or a section; write a word")
        return str(node.value)

    def _scalar(self, node: yaml.Node) -> object:
        if node.tag not in _SCALARS:
            raise ConfigError(f"{self._line(node)}: found the tag {node.tag!r}; a recipe holds text and numbers only")
        try:
            return _SCALARS[node.tag](node.value)
        except ValueError as error:
            raise ConfigError(f"{self._line(node)}: found {node.value!r} tagged as a number") from error

    def _line(self, node: yaml.Node) -> str:
        if self.source == COMMAND_LINE:
            return COMMAND_LINE
        return f"{self.source}:{node.start_mark.line + 1}"


def _override(document: Document, override: str) -> Document:
    """The document with one value replaced or added."""
    path, equals, text = override.partition("=")
    keys = tuple(path.split("."))
    if not equals or not all(keys):
        raise ConfigError(f"{COMMAND_LINE}: found {override!r}; write key.path=value, for example train.batch=8")
    node = _compose(text, f"{COMMAND_LINE}: {path}")
    value = "" if node is None else _Reader(COMMAND_LINE).value(node, ())
    return _with_value(document, keys, value, COMMAND_LINE)


def _with_value(document: Document, keys: Keys, value: object, source: str) -> Document:
    """The document with the value at `keys`, which came from `source`, replaced or added."""
    values = _replaced(document.values, keys, value, f"{source}: {'.'.join(keys)}")
    assert isinstance(values, dict)  # the root stays a mapping: `keys` is not empty
    others = {at: place for at, place in document.places.items() if at[: len(keys)] != keys}
    steps = [keys[:length] for length in range(1, len(keys) + 1)]
    return Document(values, others | {step: source for step in steps if step not in others})


def _replaced(node: object, keys: Keys, value: object, place: str) -> object:
    """`node` with the value at `keys` replaced; sections and lists on the way are made when absent."""
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if node is None:
        node = [] if key == "0" else {}
    if isinstance(node, dict):
        return {**node, key: _replaced(node.get(key), rest, value, place)}
    if isinstance(node, list):
        index = _index(key, len(node), place)
        old = node[index] if index < len(node) else None
        return [*node[:index], _replaced(old, rest, value, place), *node[index + 1 :]]
    raise ConfigError(f"{place}: {key!r} is looked up in {node!r}, a single value; name a key of a section")


def _index(key: str, length: int, place: str) -> int:
    """The place in a list of `length` entries that `key` names; the one after the last appends."""
    if key.isdecimal() and int(key) <= length:
        return int(key)
    raise ConfigError(
        f"{place}: found {key!r} for a list of {length}; write an index from 0 to {length} ({length} adds one)"
    )
