"""Every key of a recipe with hostile texts, through the request's schema and the gate's reading of it, without HTTP."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from demo.jobs.gate.gate_error import GateError
from demo.jobs.gate.job_gate import read_recipe
from demo.jobs.job_request import SECTIONS, TRACK, JobRequest
from vlm.config import VlmRunConfig
from vlm.service.gate_record import GateQuestion
from vlm.service.recipe import JobData

FREE = {
    "data.template",
    "data.system",
    "tune.targets",
    "train.probes.prompt",
    "train.probes.system",
    "train.probes.expect",
}
"""Keys that take any text: what they name is looked for among names, and never a file."""


@dataclass
class Tried:
    """How many recipes were tried, the keys that took a text, and what went wrong."""

    count: int = 0
    taken: dict[str, list[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def keys(model: type[BaseModel] = VlmRunConfig, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The keys that a request may set, those inside of lists of objects included."""
    for name, found in model.model_fields.items():
        here = (*prefix, name)
        if here[0] not in (*SECTIONS, TRACK):
            continue
        if len(here) > 1 or here == (TRACK,):
            yield here
        for kind in (found.annotation, *get_args(found.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from keys(kind, here)


def try_recipes(folder: Path, texts: Sequence[str], models: dict[str, str]) -> Tried:
    """Read a recipe for each key and text: the text itself, in a list, and as a key.

    `models` has the names tiny and clip; what is refused must name the key or its section, and no folder.
    """
    found, file = Tried(), folder / "a.jsonl"
    file.write_text("{}")
    question = GateQuestion("ftjob-1", {}, str(folder / "run"), str(file), None, None, None, models, [], "cpu", 0)
    for key in keys():
        for text in texts:
            for recipe in _recipes(key, text):
                found.count += 1
                fault = _try(question, recipe, key, text, found)
                if fault:
                    found.faults.append(f"{'.'.join(key)}: {text[:60]!r}: {fault}")
    return found


def _recipes(key: tuple[str, ...], text: str) -> Iterator[dict[str, Any]]:
    if len(key) == 1:
        yield from ({key[0]: value} for value in (text, [text], {text: text}, [{"name": text}]))
        return
    section, name, *inner = key
    values: list[Any] = [text, [text], {text: text}]
    if inner:
        values = [[{"prompt": "a", inner[0]: text}], {"prompt": "a", inner[0]: text}, [{inner[0]: [text]}]]
    for value in values:
        yield {"model": {"tower": "clip"}, section: {name: value}} if section != "model" else {"model": {name: value}}


def _try(question: GateQuestion, recipe: dict[str, Any], key: tuple[str, ...], text: str, found: Tried) -> str:
    body = {"model": "tiny", "training_file": "file-" + "0" * 24, "x_eyegraft": {"recipe": recipe}}
    try:
        request = JobRequest.model_validate(json.loads(json.dumps(body))).completed(None)
    except ValidationError as error:
        return "" if "recipe" in str(error) else f"refused without its name: {error}"
    data = JobData(Path(question.training), None, None, 1, False)
    try:
        read_recipe(replace(question, request=request), data)
    except GateError as error:
        said = str(error)
        folder = str(Path(question.training).parent)
        if folder in said and folder not in text:
            return f"names a folder: {said}"
        return "" if key[0] in said else f"refused without its name: {said}"
    found.taken.setdefault(".".join(key), []).append(text)
    return ""
