"""Relative paths of a recipe, resolved against another folder than the working directory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from llm.config.schema import RunConfig
from llm.files.regular_files import exists
from llm.hubs.reference import has_prefix

SomeRun = TypeVar("SomeRun", bound=RunConfig)
CWD = Path()  # paths relative to it are left as they are
MODEL = ("llm", "tower", "projector_weights")
SOURCE = ("path", "images")


def rebased(config: SomeRun, home: Path) -> SomeRun:
    """The recipe with every local path that exists below `home` made absolute; hub ids and names are not changed."""
    values = config.model_dump(by_alias=True)
    for part, keys in _places(values):
        part |= {key: _absolute(part[key], home) for key in keys if part.get(key)}
    return type(config).model_validate(values)


def _places(values: dict[str, Any]) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    """The parts of a recipe that hold paths, and which of their keys do."""
    yield values, ("from", "out")
    yield values["model"], MODEL
    yield values["data"], ("cache",)
    for source in (*values["data"]["sources"], *values["data"]["validation_sources"]):
        yield source, SOURCE
    for probe in values["train"]["probes"]:
        yield probe, ("image",)
    if evaluate := values["train"]["evaluate"]:
        yield evaluate, ("images",)


def _absolute(value: str, home: Path) -> str:
    """A folder or file, or the file of `open_clip:NAME@FILE` and `timm:FOLDER`; names of hubs are not changed."""
    if has_prefix(value):
        return value
    if exists(home / value):
        return str(home / value)
    for mark in ("@", ":"):
        head, found, tail = value.partition(mark)
        if found and tail and exists(home / tail):
            return f"{head}{mark}{home / tail}"
    return value
