"""The jobs and runs that an address of the page names, in its order, and the lines of their metrics."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Query
from pydantic import StringConstraints

from demo.job_pages.parts.job_table import job_badge, job_name, run_badge
from demo.job_pages.parts.markup import Markup
from llm.errors import RunError, ServiceError
from llm.i18n.translate import Language
from llm.train.metrics import NAME, MetricsLine
from vlm.run_folders.metrics_pages import every_line
from vlm.run_folders.progress import RunProgress
from vlm.service.service import Service
from vlm.service.store.event_table import stored_metrics
from vlm.service.store.job_table import jobs_named, list_jobs

MOST_RUNS = 10  # whose curves are legible in one chart
OFFERED = 50  # to be laid over those that are shown
RunId = Annotated[str, StringConstraints(pattern=r"^(ftjob|xrun)-[0-9a-f]{24}$")]
Runs = Annotated[list[RunId] | None, Query(alias="run", max_length=MOST_RUNS)]


@dataclass(frozen=True, slots=True)
class MarkedRun:
    """A job or a run that was started by hand; `number`: its place in the address, by which it has its colour."""

    number: int
    id: str
    name: str
    address: str
    folder: Path
    badge: Markup
    progress: RunProgress


def marked_runs(service: Service, ids: list[str], lang: Language) -> tuple[list[MarkedRun], list[str]]:
    """The runs, each once, and the ids of those that are not there."""
    wanted = list(dict.fromkeys(ids))
    jobs = jobs_named(service.database, [name for name in wanted if name.startswith("ftjob-")])
    outside = {run.id: run for run in service.outside.all()} if len(jobs) < len(wanted) else {}
    found: list[MarkedRun] = []
    for number, name in enumerate(wanted):
        if job := jobs.get(name):
            folder, badge = service.layout.run(name), job_badge(job, lang)
            found.append(MarkedRun(number, name, job_name(job), f"/jobs/{name}", folder, badge, job.progress))
        elif run := outside.get(name):
            badge = run_badge(run, lang)
            found.append(MarkedRun(number, name, run.name, f"/runs/{name}", run.folder, badge, run.progress))
    there = {run.id for run in found}
    return found, [name for name in wanted if name not in there]


def other_runs(service: Service, ids: list[str]) -> list[tuple[str, str]]:
    """Ids and names of the newest jobs and runs that have begun to train, those of `ids` left out, newest first."""
    jobs, _ = list_jobs(service.database, OFFERED)
    found = [(job.created_at, job.id, job_name(job)) for job in jobs if job.progress.step]
    found += [(run.created_at, run.id, run.name) for run in service.outside.all() if run.progress.step]
    newest = sorted(found, key=lambda one: -one[0])[:OFFERED]  # stable: jobs of one second stay in their order
    return [(name, shown) for _, name, shown in newest if name not in ids]


def lines_of(service: Service, run: MarkedRun) -> Iterator[MetricsLine]:
    """Every line of a run's metrics; those of the store where the folder is gone. Raises ServiceError."""
    if not (run.folder / NAME).exists():
        yield from stored_metrics(service.database, run.id)
        return
    try:
        yield from every_line(run.folder)
    except RunError as error:
        raise ServiceError(str(error)) from error
