"""metrics.jsonl of a run, read as it grows, with how far the run is."""

from collections.abc import Mapping
from pathlib import Path

from llm.track import metrics_tail
from llm.track.metrics_tail import MetricsLine
from vlm.run_folders.progress import ProgressMeter, RunProgress, number_of


class MetricsTail(metrics_tail.MetricsTail):
    """The new lines of a run, each once, and its progress by all lines."""

    def __init__(self, run: Path, seen: Mapping[str, int]) -> None:
        """`seen`: for each kind of line the step up to which lines are known already."""
        super().__init__(run, seen)
        self._meter = ProgressMeter()
        self.began: float | None = None  # time of the first line

    @property
    def progress(self) -> RunProgress:
        """How far the run is by the lines that were read, those that are known included."""
        return self._meter.progress

    def _next_lines(self) -> list[MetricsLine]:
        lines = super()._next_lines()
        for line in lines:
            self._meter.add(line)
            self.began = number_of(line, "time") if self.began is None else self.began
        return lines
