"""What a run writes becomes events and checkpoints of its job."""

from collections.abc import Iterable

from llm.errors import RunError
from llm.log import logger
from vlm.run_folders.metrics_tail import MetricsTail
from vlm.service.layout import Layout
from vlm.service.run_progress import saved_steps
from vlm.service.store.database import Database
from vlm.service.store.event_table import add_checkpoint, add_metrics, list_checkpoints, newest_metrics

NAMES = {"train": {"loss": "train_loss"}, "validation": {"loss": "valid_loss"}}  # as OpenAI's checkpoints have them


class Followers:
    """One reader of metrics for every job that runs."""

    def __init__(self, database: Database, layout: Layout) -> None:
        self._database, self._layout = database, layout
        self._tails: dict[str, MetricsTail] = {}

    def follow(self, jobs: Iterable[str]) -> None:
        """Read what is new of these jobs, and forget the others."""
        names = list(jobs)
        self._tails = {job: tail for job, tail in self._tails.items() if job in names}
        for job in names:
            self.read(job)

    def read(self, job: str) -> None:
        """Read what is new of one job. Metrics that cannot be read are left out with a warning."""
        try:
            self._read(job)
        except RunError as error:
            logger.warning(str(error))

    def _read(self, job: str) -> None:
        tail = self._tails.get(job)
        if tail is None:
            known = {kind: int(line["step"]) for kind, line in newest_metrics(self._database, job).items()}
            tail = self._tails[job] = MetricsTail(self._layout.run(job), known)
        before, lines = tail.progress, tail.read()
        if lines or tail.progress != before:
            add_metrics(self._database, job, lines, tail.progress)
        self._add_checkpoints(job)

    def _add_checkpoints(self, job: str) -> None:
        saved = saved_steps(self._layout.run(job))
        known = {one.step for one in list_checkpoints(self._database, job)} if saved else set()
        for step in saved:
            if step not in known:
                add_checkpoint(self._database, job, step, self._figures(job, step), saved)

    def _figures(self, job: str, step: int) -> dict[str, float]:
        found: dict[str, float] = {"step": step}
        for kind, line in newest_metrics(self._database, job).items():
            found |= {new: line[old] for old, new in NAMES.get(kind, {}).items() if old in line}
        return found


def lost_run(database: Database, layout: Layout, job: str) -> str:
    """The run folder of a job that has saved checkpoints and has none any more; empty for any other job."""
    run = layout.run(job)
    return str(run) if not saved_steps(run) and list_checkpoints(database, job) else ""
