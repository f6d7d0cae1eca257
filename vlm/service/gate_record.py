"""What is known of a job before it may wait: `gate.json` in the job's folder, written by the program that looks."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llm.errors import ServiceError
from llm.files.atomic_files import write_atomically
from llm.files.regular_files import SETTINGS, read_text
from vlm.service.store.rows import JobError

QUESTION, ANSWER = "gate-request.json", "gate.json"


@dataclass(frozen=True, slots=True)
class GateQuestion:
    """What the program looks at. Paths are absolute; `memory`: bytes of the largest slot, 0 where unknown.

    `more`: further files that are trained on.
    """

    job: str
    request: dict[str, Any]
    run: str
    training: str
    validation: str | None
    archive: str | None
    start: str | None
    models: dict[str, str]
    hub_ids: list[str]
    device: str
    memory: int
    more: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """A change of the recipe that needs less memory: values by the keys of the recipe, and the bytes with it."""

    values: dict[str, Any]
    bytes: int


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """The recipe, or why the job cannot run; with what was noticed on the way.

    `bytes`: at the peak of a step, also of a job that does not fit; 0 where nothing was planned. `seconds`: of the
    complete run at the device's speed, at least; None where that is unknown. `changes`: for a job that does not fit.
    """

    recipe: str = ""
    error: JobError | None = None
    notes: list[str] = field(default_factory=list)
    bytes: int = 0
    seconds: float | None = None
    changes: list[PlannedChange] = field(default_factory=list)


def write_question(folder: Path, question: GateQuestion) -> None:
    """Write the question into a job's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / QUESTION, json.dumps(asdict(question)))


def read_question(folder: Path) -> GateQuestion:
    """The question of a job's folder."""
    return GateQuestion(**json.loads(read_text(folder / QUESTION, SETTINGS)))


def write_answer(folder: Path, answer: GateAnswer) -> None:
    """Write the answer into a job's folder."""
    write_atomically(folder / ANSWER, json.dumps(asdict(answer)))


def read_answer(folder: Path) -> GateAnswer | None:
    """The answer, or None where there is none yet. Raises ServiceError for a damaged one."""
    try:
        found = json.loads(read_text(folder / ANSWER, SETTINGS))
        error = JobError(**found["error"]) if found["error"] else None
        changes = [PlannedChange(**one) for one in found.get("changes", [])]
        return GateAnswer(**{**found, "error": error, "changes": changes})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ServiceError(f"{folder / ANSWER}: cannot be read: {error}") from error
