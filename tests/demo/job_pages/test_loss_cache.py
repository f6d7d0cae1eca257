"""The losses of a row: read once and then only what is new, thinned out, the newest among them."""

from itertools import pairwise
from pathlib import Path

import pytest

from demo.job_pages.parts import loss_cache
from demo.job_pages.parts.loss_cache import POINTS, LossCache
from tests.demo.job_pages.stories import add_job, run_by_hand
from vlm.run_folders.progress import RunProgress
from vlm.service.outside_runs import OutsideRuns
from vlm.service.service import Service
from vlm.service.store import event_table
from vlm.service.store.event_table import add_metrics


def add(service: Service, job: str, first: int, last: int) -> None:
    lines = [{"kind": "train", "step": step, "loss": float(step)} for step in range(first, last)]
    add_metrics(service.database, job, [*lines, {"kind": "validation", "step": last, "loss": -1.0}], RunProgress())


def test_what_is_new_is_added(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    job, cache = add_job(service, "one").id, LossCache(service.database)
    assert cache.of_job(job) == []
    add(service, job, 1, 4)
    assert cache.of_job(job) == [1.0, 2.0, 3.0]
    add(service, job, 4, 6)
    assert cache.of_job(job) == [1.0, 2.0, 3.0, 4.0, 5.0]
    monkeypatch.setattr(event_table, "sampled_metrics", None)  # what was read is not read again
    add(service, job, 6, 1000)
    found = cache.of_job(job)
    assert POINTS <= len(found) <= 2 * POINTS and found == sorted(found) and found[0] == 1.0 and found[-1] > 980


def test_a_long_run_is_sampled_at_first(service: Service) -> None:
    job = add_job(service, "one").id
    add(service, job, 1, 5000)
    found = LossCache(service.database).of_job(job)
    assert POINTS <= len(found) <= 2 * POINTS and found == sorted(found) and found[-1] == 4999.0


def test_points_stay_evenly_spread_while_a_run_grows(service: Service) -> None:
    """The loss is the step here: but for the newest one, no two are closer than others are apart by much."""
    job, cache = add_job(service, "one").id, LossCache(service.database)
    add(service, job, 1, 3000)
    for first in range(3000, 9000, 500):
        cache.of_job(job)
        add(service, job, first, first + 500)
    found = cache.of_job(job)
    gaps = [after - before for before, after in pairwise(found[:-1])]
    assert found[-1] == 8999.0 and len(found) >= POINTS and max(gaps) <= 4 * min(gaps), gaps


def test_runs_of_others_are_read_from_their_folder(service: Service, tmp_path: Path) -> None:
    run_by_hand(tmp_path / "elsewhere" / "mine", 5, 9)
    outside = OutsideRuns([tmp_path / "elsewhere"], service.layout.root)
    cache = LossCache(service.database)
    (run,) = outside.all()
    assert cache.of_run(run) == [2.0, 1.0, 2 / 3, 0.5, 0.4]
    (run.folder / "metrics.jsonl").unlink()
    assert cache.of_run(run)[-1] == 0.4


def test_a_very_long_run_is_read_a_bounded_time_at_a_call(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call returns before the end of the file; later ones come to it, and then read what is new alone."""
    run_by_hand(tmp_path / "elsewhere" / "mine", 2, 9)
    (run,) = OutsideRuns([tmp_path / "elsewhere"], service.layout.root).all()
    line = '{"kind": "train", "step": %d, "loss": %d}'
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.writelines(f"{line % (step, step)}\n" for step in range(3, 80_000))  # 3 blocks
    cache = LossCache(service.database)
    monkeypatch.setattr(loss_cache, "READ_S", 0.0)
    first = cache.of_run(run)
    assert first[-1] < 40_000, "a block at a call"
    while (found := cache.of_run(run))[-1] != 79_999:
        assert found[-1] > first[-1]
        first = found
    assert len(found) <= POINTS and found[2:] == sorted(found[2:])
