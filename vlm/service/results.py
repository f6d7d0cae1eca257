"""What a job leaves when it has succeeded: its metrics as a CSV file that clients download, and its token count."""

import csv
import hashlib
import io
import json
import time
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from llm.errors import RunError, ServiceError
from llm.files.atomic_files import atomic_file
from llm.files.regular_files import SETTINGS, read_text
from llm.train.metrics import NAME, MetricsLine
from vlm.run_folders.metrics_pages import every_line
from vlm.service.layout import Layout
from vlm.service.store.database import Database
from vlm.service.store.event_table import stored_metrics
from vlm.service.store.file_table import add_file, find_file
from vlm.service.store.job_table import JobChanges
from vlm.service.store.rows import Job, StoredFile

COLUMNS = ("step", "train_loss", "learning_rate", "grad_norm", "valid_loss")
NAMES = {("train", "loss"): "train_loss", ("train", "lr"): "learning_rate", ("train", "grad_norm"): "grad_norm",
         ("validation", "loss"): "valid_loss"}  # fmt: skip


def results(database: Database, layout: Layout, job: Job) -> JobChanges:
    """The results of a job whose training has ended; empty where it left no report.

    The file's id follows from the job's: after a kill it is found again, not made twice.
    """
    try:
        report = json.loads(read_text(layout.run(job.id) / "report.json", SETTINGS))
    except (OSError, ValueError):
        return {}
    file = f"file-{job.id.removeprefix('ftjob-')}"
    if find_file(database, file) is None:
        _add_csv(database, layout, job.id, file)
    return {"result_files": (file,), "trained_tokens": int(report.get("tokens_seen", 0))}


def metrics_csv(database: Database, layout: Layout, job: str) -> bytes:
    """The metrics of a job up to now, a row a step. Raises ServiceError for metrics that cannot be read."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    run = layout.run(job)
    found = _lines(run) if (run / NAME).exists() else stored_metrics(database, job)
    for step, lines in groupby(found, lambda line: line["step"]):
        if figures := _figures(lines):
            writer.writerow({"step": step, **figures})
    return text.getvalue().encode()


def _lines(run: Path) -> Iterator[MetricsLine]:
    """The lines of metrics.jsonl: the store has only some of a long run's, and is asked when the folder is gone."""
    try:
        yield from every_line(run)
    except RunError as error:
        raise ServiceError(str(error)) from error


def _add_csv(database: Database, layout: Layout, job: str, file: str) -> None:
    content = metrics_csv(database, layout, job)
    path = layout.files / f"{file}.csv"
    path.parent.mkdir(exist_ok=True)
    with atomic_file(path) as partial:
        partial.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    add_file(
        database,
        StoredFile(file, "step_metrics.csv", "fine-tune-results", len(content), digest, path.name, int(time.time())),
    )


def _figures(lines: Iterable[MetricsLine]) -> dict[str, float]:
    """The figures of a step's lines under the names of the columns."""
    return {
        new: line[old] for line in lines for (kind, old), new in NAMES.items() if kind == line["kind"] and old in line
    }
