"""The order of the table: that of a slow reference over complete jobs, whatever is missing."""

import random
from dataclasses import asdict
from itertools import pairwise

import pytest

from demo.job_pages.parts.disk_note import bytes_text
from demo.job_pages.table_query import COLUMNS, NEWEST, TableQuery
from demo.job_pages.table_rows import Entry, sort_entries
from tests.demo.job_pages.stories import add_job
from vlm.run_folders.progress import ProgressMeter, RunProgress
from vlm.service.service import Service
from vlm.service.store.event_table import add_metrics
from vlm.service.store.job_search import Column, search_jobs
from vlm.service.store.job_table import jobs_named
from vlm.service.store.rows import Job
from vlm.service.store.states import State

FIGURES = {"progress": "step", "loss": "loss", "best": "best_loss", "speed": "tokens_per_s"}
SORTED: tuple[Column, ...] = ("name", "state", "progress", "loss", "best", "speed")


def slow_value(job: Job, column: Column) -> float | str | None:
    if column == "state":
        return list(State).index(job.state)
    if column == "name":
        return str(job.request["suffix"] or job.id[6:14]).lower()
    found = asdict(job.progress)[FIGURES[column]]
    return found or None


@pytest.mark.parametrize("column", SORTED)
def test_the_database_sorts_by_what_a_job_has(service: Service, column: Column) -> None:
    draw = random.Random(column)
    for number in range(30):
        job = add_job(service, draw.choice(["B", "a", "c", None]))
        loss, speed, best = (draw.choice([None, 0.5, 2.0, 1.25]) for _ in range(3))
        progress = RunProgress(step=draw.choice([0, 9, 10]), loss=loss, tokens_per_s=speed, best_loss=best)
        add_metrics(service.database, job.id, [], progress)
        with service.database.transaction() as connection:
            change = (draw.choice(list(State)), number // 2, job.id)
            connection.execute("UPDATE jobs SET state = ?, created_at = ? WHERE id = ?", change)
    found = search_jobs(service.database, frozenset(State), "", column)
    jobs = jobs_named(service.database, [one.id for one in found])
    assert len(found) == len(jobs) == 30
    for one in found:
        assert one.value == slow_value(jobs[one.id], column)
    for descending in (True, False):
        order = sort_entries([Entry(one.id, one.created_at, one.value) for one in found], column, descending)
        known = [entry.value for entry in order if entry.value is not None]
        assert [entry.value for entry in order[len(known) :]] == [None] * (30 - len(known))
        assert known == sorted(known, key=lambda value: value, reverse=descending)
        for before, after in pairwise(order):
            assert before.value != after.value or before.created_at >= after.created_at


def test_a_click_turns_the_order_of_its_own_column() -> None:
    for column in COLUMNS:
        first = TableQuery("all", "", "-left" if column != "left" else NEWEST).clicked(column)
        second = TableQuery("all", "", first).clicked(column)
        assert {first, second} == {column, f"-{column}"} and TableQuery("all", "", second).clicked(column) == first
    assert TableQuery("all", "").query(sort=NEWEST) == "" and TableQuery("all", "").column == "submitted"


def test_the_best_measurement_survives_a_resumed_run() -> None:
    """Lines of steps that are repeated replace those that were there."""
    meter = ProgressMeter()
    for step, loss in ((10, 3.0), (20, 1.0), (30, 2.0)):
        meter.add({"kind": "validation", "step": step, "loss": loss})
        meter.add({"kind": "probe", "step": step, "score": 1 / loss})
    assert (meter.progress.best_loss, meter.progress.best_score) == (1.0, 1.0)
    meter.add({"kind": "validation", "step": 20, "loss": 2.5})
    meter.add({"kind": "probe", "step": 20, "score": float("nan")})
    assert meter.progress.best_loss == 2.5 and meter.progress.best_score == pytest.approx(1 / 3)


def test_bytes_have_a_unit() -> None:
    found = [bytes_text(size) for size in (0, 999, 1000, 123_456, 1.45e9, 2e12)]
    assert found == ["0 B", "999 B", "1 kB", "123 kB", "1.4 GB", "2 TB"]
