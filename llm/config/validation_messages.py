"""Error messages for recipes, made from pydantic's: the key, what was found, what to do."""

import difflib
import re
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from llm.config.other_keys import other_key
from llm.config.schema import Section

Location = tuple[int | str, ...]

FULL_WIDTH = "：，｛｝［］（）“”＝"
_ADVICE = {
    "int_type": "write a whole number",
    "int_parsing": "write a whole number",
    "float_type": "write a number",
    "string_type": 'write text; put "quotes" around text that looks like a number',
    "bool_type": "write true or false",
    "dict_type": "write `name: text` pairs",
    "tuple_type": "write a list, such as [a, b]",
    "too_short": "give at least one",
    "finite_number": "write a finite number",
}

SUBJECT = re.compile(r"\b(Input|List|Tuple|Dictionary|String) should")


def explain(error: ErrorDetails, model: type[Section]) -> str:
    """`key: what was found; what to do` for one error of a recipe that should be a `model`."""
    location = error["loc"]
    return f"{'.'.join(map(str, location))}: {_sentence(error, location, model)}"


def one_a_value(errors: list[ErrorDetails], model: type[Section]) -> list[ErrorDetails]:
    """The errors, one for a value that fits no member of a union: pydantic reports one a member, by its name."""
    found: dict[tuple[Location, str], ErrorDetails] = {}
    for error in errors:
        if _is_union(error["loc"][:-1], model):
            error = error.copy()
            error["loc"], error["type"] = error["loc"][:-1], "literal_error"
        found.setdefault((error["loc"], error["type"]), error)
    return list(found.values())


def did_you_mean(word: str, known: list[str]) -> str:
    """`; did you mean X?` for the known word that is spelt most like `word`; empty if none is."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _sentence(error: ErrorDetails, location: Location, model: type[Section]) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        return "unknown key" + _unknown(location, model)
    if kind == "missing":
        return "missing" + (_purpose(location, model) or "; add it")
    found = f"found {_describe(error['input'])}"
    if kind == "literal_error":
        choices = _choices(_annotation(location, model))
        return f"{found}; choose {_either(choices)}{did_you_mean(str(error['input']), choices)}"
    if kind in ("model_type", "model_attributes_type"):
        return f"{found}; write a section with {', '.join(_keys(_sections_at(location, model)))}"
    if kind == "string_pattern_mismatch":
        return found + _purpose(location, model)
    if kind in _ADVICE:
        return f"{found}; {_ADVICE[kind]}"
    return f"{found}; {_plain(error['msg'])}{_purpose(location, model)}"


def _plain(message: str) -> str:
    """A message of pydantic's, or of a validator of ours, as the rest of a sentence."""
    return SUBJECT.sub("it should", message).removeprefix("Value error, ")


def _unknown(location: Location, model: type[Section]) -> str:
    """Advice for a key that its section does not have: the section that does, a similar key, or the keys it has."""
    key, known = str(location[-1]), _keys(_sections_at(location[:-1], model))
    if wide := [mark for mark in FULL_WIDTH if mark in key]:
        return f"; it holds {' and '.join(wide)}, full-width punctuation: write it half-width, a colon and a blank"
    if ours := other_key(key):
        return f", a setting of another trainer; here: {ours}"
    paths = [path for path in _paths(model) if path.split(".")[-1] == key]
    if paths:
        return f"; write it as {_either(paths)}"
    return did_you_mean(key, known) or f"; known keys: {', '.join(known)}"


def _purpose(location: Location, model: type[Section]) -> str:
    """`; description` of the field, as the schema has it."""
    for section in _sections_at(location[:-1], model):
        for name, field in section.model_fields.items():
            if _key(name, field) == location[-1] and field.description:
                return f"; {field.description}"
    return ""


def _choices(annotation: object) -> list[str]:
    """The values that a Literal, a bool or a union of these may have, as they are written."""
    if annotation is bool:
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return [choice for member in get_args(annotation) for choice in _choices(member)]


def _is_union(location: Location, model: type[Section]) -> bool:
    """Whether the value there may be of several types, all of them without keys."""
    members = {one for one in get_args(_annotation(location, model)) if one is not NoneType}
    return get_origin(_annotation(location, model)) in (Union, UnionType) and len(members) > 1


def _annotation(location: Location, model: type[Section]) -> object:
    """The type of the field at `location`, of a list also for one of its items; None where there is no field."""
    if location and isinstance(location[-1], int):
        return _annotation(location[:-1], model)
    sections = _sections_at(location[:-1], model) if location else []
    fields = [item for section in sections for item in section.model_fields.items()]
    return next((field.annotation for name, field in fields if _key(name, field) == location[-1]), None)


def _sections_at(location: Location, model: type[Section]) -> list[type[Section]]:
    """The sections of the schema that `location` may hold; several where the type is a union."""
    sections = [model]
    for step in location:
        if isinstance(step, str):
            fields = [item for section in sections for item in section.model_fields.items()]
            sections = [
                inner for name, field in fields if _key(name, field) == step for inner in _inside(field.annotation)
            ]
    return sections


def _inside(annotation: object) -> list[type[Section]]:
    """The sections named in an annotation such as `tuple[Source, ...]` or `VqaEval | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for argument in get_args(annotation) for section in _inside(argument)]


def _paths(model: type[Section], prefix: str = "") -> Iterator[str]:
    """The path of every key of the schema; `0` stands for an index of a list."""
    for name, field in model.model_fields.items():
        path = prefix + _key(name, field)
        yield path
        step = ".0." if "tuple" in str(field.annotation) else "."
        for section in _inside(field.annotation):
            yield from _paths(section, path + step)


def _keys(sections: list[type[Section]]) -> list[str]:
    return [_key(name, field) for section in sections for name, field in section.model_fields.items()]


def _key(name: str, field: FieldInfo) -> str:
    """The field's key in a recipe."""
    return field.alias or name


def _describe(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return repr(value)


def _either(words: list[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)
