"""The jobs and runs of the table in its order: found and sorted by light rows, and only those read that are shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from demo.job_pages.parts.context import PageContext
from demo.job_pages.table_query import Column, TableQuery
from vlm.service.estimates import AT_WORK
from vlm.service.outside_runs import OutsideRun
from vlm.service.store.job_search import RANKS, FoundJob, search_jobs
from vlm.service.store.job_table import jobs_named
from vlm.service.store.live_jobs import WAITING
from vlm.service.store.rows import Job
from vlm.service.store.states import State

Value = str | float | None
RUN_STATES = {"running": State.RUNNING, "finished": State.SUCCEEDED, "stopped": State.CANCELLED}


@dataclass(frozen=True, slots=True)
class Entry:
    """A row that is not made yet: its id, when it began, and what it is sorted by."""

    id: str
    created_at: int
    value: Value


@dataclass(frozen=True, slots=True)
class FoundRows:
    """Every row of the table in order, and what the rows that are shown are made of."""

    ids: Sequence[str]
    runs: Mapping[str, OutsideRun]

    def read(self, context: PageContext, start: int, count: int) -> list[Job | OutsideRun]:
        """The rows from a place on; those of jobs that were removed meanwhile are left out."""
        wanted = self.ids[start : start + count]
        jobs = jobs_named(context.service.database, [name for name in wanted if name not in self.runs])
        both: Mapping[str, Job | OutsideRun] = {**self.runs, **jobs}
        return [both[name] for name in wanted if name in both]


def find_rows(context: PageContext, query: TableQuery, now: float) -> FoundRows:
    """The rows that a query asks for, jobs and runs that were started by hand together."""
    runs = {run.id: run for run in context.service.outside.all() if query.shows(run)}
    entries = _of_jobs(context, query, now)
    entries += [Entry(run.id, run.created_at, run_value(run, query.column, now)) for run in runs.values()]
    return FoundRows([entry.id for entry in sort_entries(entries, query.column, query.descending)], runs)


def sort_entries(entries: Sequence[Entry], column: Column, descending: bool) -> list[Entry]:
    """In order; entries without a value are last in both directions, equal ones newest first."""
    newest = sorted(entries, key=lambda entry: -entry.created_at)  # stable: jobs of one second stay in their order
    if column == "submitted":
        return newest if descending else newest[::-1]
    numbered = [entry for entry in newest if isinstance(entry.value, int | float)]
    named = [entry for entry in newest if isinstance(entry.value, str)]
    without = [entry for entry in newest if entry.value is None]
    numbered.sort(key=lambda entry: float(entry.value or 0), reverse=descending)
    named.sort(key=lambda entry: str(entry.value), reverse=descending)
    return [*numbered, *named, *without]


def _of_jobs(context: PageContext, query: TableQuery, now: float) -> list[Entry]:
    database, column = context.service.database, query.column
    if column != "left":
        found = search_jobs(database, query.states, query.words, column)
        return [Entry(one.id, one.created_at, one.value) for one in found]
    found = search_jobs(database, query.states, query.words, "submitted")
    left = _left(context, found, now)
    return [Entry(one.id, one.created_at, left.get(one.id)) for one in found]


def _left(context: PageContext, found: Sequence[FoundJob], now: float) -> dict[str, float]:
    """Seconds to the end of the jobs for which they can be known."""
    live = [one.id for one in found if one.state in AT_WORK | WAITING]
    finish = context.service.estimates.finish
    ends = {name: finish(job) for name, job in jobs_named(context.service.database, live).items()}
    return {name: end - now for name, end in ends.items() if end is not None}


def run_value(run: OutsideRun, column: Column, now: float) -> Value:
    """What a run is sorted by, as `vlm.service.store.job_search` has it of a job."""
    progress, running = run.progress, run.state == "running"
    values: dict[Column, Value] = {
        "name": run.name.lower(),
        "state": RANKS[RUN_STATES[run.state]],
        "progress": progress.step or None,
        "loss": progress.loss,
        "best": progress.best_loss,
        "speed": progress.tokens_per_s,
        "left": progress.seconds_left(now) if running else None,
        "slot": run.writer.lower() if running and run.writer else None,
        "submitted": None,
    }
    return values[column]
