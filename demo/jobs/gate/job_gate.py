"""A look at a job before it waits: `python -m demo.jobs.gate.job_gate FOLDER`. Its data, its recipe, its memory.

It is a program of its own: it imports torch for the plan, which the service does not, and it may be killed by what it
looks at.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import islice
from pathlib import Path

from data_tools.check.check import check_rows
from data_tools.check.findings import Finding
from data_tools.check.rules import CheckRules, CheckState
from demo.jobs.gate.gate_error import GateError
from demo.jobs.gate.memory_bound import bounded_memory, budget
from llm.activity import importing
from llm.config.schema import RunConfig, Source
from llm.errors import ConfigError, DataError, EyegraftError
from llm.formats.readers import source_rows
from llm.hub_access import local_copies_only
from llm.track.check import check_trackers
from vlm.config import ReadyRunConfig, VlmRunConfig
from vlm.service.archives import ArchiveError, unpack
from vlm.service.gate_record import GateAnswer, GateQuestion, read_question, write_answer
from vlm.service.recipe import JobData, job_recipe
from vlm.service.store.rows import JobError
from vlm.service.trainable_models import TrainableModels

SAMPLE = 1000
"""Records whose images are decoded here; training looks at all of them before its first step."""


def main(folder: Path, early: Callable[[GateAnswer], None] | None = None) -> None:
    """Answer the question of a job's folder. `early` gets what is known of a job that does not fit, before the end."""
    question = read_question(folder)
    try:
        with as_allowed(question):
            answer = look(question, folder, early)
    except GateError as error:
        message = without_folders(error.error.message, question, folder)
        answer = replace(error.plan, error=replace(error.error, message=message))
    except EyegraftError as error:
        answer = GateAnswer(error=JobError("validation_failed", without_folders(str(error), question, folder)))
    notes = [without_folders(note, question, folder) for note in answer.notes]
    write_answer(folder, replace(answer, notes=notes))


def as_allowed(question: GateQuestion) -> AbstractContextManager[None]:
    """Inside, no hub is asked, unless the operator has listed ids of one."""
    return local_copies_only("" if question.hub_ids else "HF_HUB_OFFLINE is set")


def without_folders(text: str, question: GateQuestion, folder: Path) -> str:
    """A message for the client: images have their names inside the archive, files and models those of the request."""
    images, files = folder / "images", Path(question.training).parent
    shown = {f"{images}/": "", str(images): "x_eyegraft.images", question.training: "training_file"}
    shown |= {path: f"x_eyegraft.training_files.{number}" for number, path in enumerate(question.more)}
    if question.validation:
        shown[question.validation] = "validation_file"
    shown |= {f"{folder}/": "", f"{files}/": "", str(files): "x_eyegraft.images"}
    shown |= {path: name for name, path in question.models.items()}
    for hidden, name in shown.items():
        text = text.replace(hidden, name)
    return text


def look(question: GateQuestion, folder: Path, early: Callable[[GateAnswer], None] | None = None) -> GateAnswer:
    """The recipe and what it needs. Raises GateError for a job that cannot run."""
    _check_files(question)
    notes: list[str] = []
    most = budget()
    try:
        with bounded_memory(most):
            data = _read(question, folder / "images", notes)
    except MemoryError as error:
        found = f"the job's files take more than {most / 2**30:.1f} GiB of memory to be read. Split them"
        raise GateError("validation_failed", found) from error
    config = read_recipe(question, data)
    if data.sees_images and not isinstance(config, VlmRunConfig | ReadyRunConfig):
        found = f"the records have images, and {question.request['model']} reads text only"
        advice = "Train from a vision run, or give x_eyegraft.recipe.model.tower"
        raise GateError("invalid_model", f"{found}. {advice}", "model")
    with importing():  # what was refused above is refused in a second
        from demo.jobs.gate.job_plan import plan_job

    return plan_job(question, config, data, notes, early)


def _read(question: GateQuestion, folder: Path, notes: list[str]) -> JobData:
    """The files of the job, its archive unpacked into a folder."""
    images = _unpacked(question, folder)
    looks = [_look_at(Path(path), folder, param, notes) for param, path in _training(question).items()]
    records, sees_images = sum(count for count, _ in looks), any(sees for _, sees in looks)
    validation = Path(question.validation) if question.validation else None
    if validation is not None:
        _look_at(validation, folder, "validation_file", notes)
    more = tuple(map(Path, question.more))
    return JobData(Path(question.training), validation, images, records, sees_images, more)


def _training(question: GateQuestion) -> dict[str, str]:
    """The files that are trained on, by the field of the request."""
    more = {f"x_eyegraft.training_files.{number}": path for number, path in enumerate(question.more)}
    return {"training_file": question.training, **more}


def _check_files(question: GateQuestion) -> None:
    """Raise GateError for a file of the request that is gone: deleted from the service's disk by hand."""
    named = {
        "training_file": (question.request.get("training_file"), question.training),
        "validation_file": (question.request.get("validation_file"), question.validation),
        "x_eyegraft.images": (question.request["x_eyegraft"].get("images"), question.archive),
    }
    names = question.request["x_eyegraft"].get("training_files", [])
    pairs = enumerate(zip(names, question.more, strict=True))
    named |= {f"x_eyegraft.training_files.{number}": pair for number, pair in pairs}
    for param, (name, path) in named.items():
        if name and not (path and Path(path).is_file()):
            raise GateError(
                "file_not_found", f"{param}: {name} is gone from the service's disk. Upload it again", param
            )


def _unpacked(question: GateQuestion, folder: Path) -> Path | None:
    if question.archive is None:
        return None
    if not folder.exists():
        try:
            unpack(Path(question.archive), folder)
        except ArchiveError as error:
            raise GateError("invalid_archive", str(error), "x_eyegraft.images") from error
    return folder


def _look_at(file: Path, images: Path, param: str, notes: list[str]) -> tuple[int, bool]:
    """The number of records and whether they have images. Raises GateError for the first that cannot be trained on."""
    source, state = Source(path=str(file), images=str(images)), CheckState()
    warned: dict[str, Finding] = {}
    looked = 0
    try:
        for row in islice(check_rows(source, Path.cwd(), CheckRules(), state), SAMPLE):
            looked = max(looked, row.row)
            for finding in row.findings:
                if finding.level == "error":
                    raise GateError(_code(param), _words(finding), param)
                warned.setdefault(finding.code, finding)
        notes += [_words(finding) for finding in warned.values() if finding.level == "warning"]
        records = looked if looked < SAMPLE else sum(1 for _ in source_rows(source, Path.cwd()))
    except (ConfigError, DataError) as error:
        raise GateError(_code(param), str(error), param) from error
    return records, state.images + state.videos > 0


def _code(param: str) -> str:
    return "invalid_validation_file" if param == "validation_file" else "invalid_training_file"


def _words(finding: Finding) -> str:
    """A finding for a client: the line of its file, not the service's own path."""
    line = f"line {finding.place.line}: " if finding.place.line else ""
    return f"{line}{finding.field}: {finding.found}. {finding.advice}"


def read_recipe(question: GateQuestion, data: JobData) -> RunConfig:
    """The recipe of a request. Raises GateError for one that cannot be."""
    models = TrainableModels({name: Path(path) for name, path in question.models.items()}, frozenset(question.hub_ids))
    start = Path(question.start) if question.start else None
    try:
        config = job_recipe(question.job, question.request, Path(question.run), start, data, models)
        check_trackers(config.track)
        return config
    except ConfigError as error:
        raise GateError("invalid_recipe", str(error), "x_eyegraft.recipe") from error


if __name__ == "__main__":
    main(Path(sys.argv[1]))
