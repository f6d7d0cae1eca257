"""How far a run is and how fast, from the lines of its metrics.jsonl. Pauses are not counted."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from llm.track.metrics_tail import MOST_STEPS, MetricsLine

HUGE = 1e300  # larger numbers, infinities and NaN are no figures
WINDOW = 50  # latest lines of training from which the speed is computed


@dataclass(frozen=True, slots=True)
class RunProgress:
    """The progress of a run.

    Attributes:
        step: Optimizer steps at the newest line of training; 0 before the first.
        steps: Steps of the complete run; None where no plan is written. A run with `train.patience` may end earlier.
        loss: At the newest line; None before the first.
        tokens_per_s: Likewise.
        step_seconds: Wall time of a step, the mean over the latest lines; None before the first.
        time: When the newest line was written, in seconds since 1970; None before the first.
        best_loss: The lowest loss on the validation data; None before it was measured.
        best_score: The highest score of the probes; likewise.
    """

    step: int = 0
    steps: int | None = None
    loss: float | None = None
    tokens_per_s: float | None = None
    step_seconds: float | None = None
    time: float | None = None
    best_loss: float | None = None
    best_score: float | None = None

    def seconds_left(self, now: float) -> float | None:
        """Seconds of training at `now`, while it goes on at its latest speed; None where that is unknown."""
        if self.steps is None or self.step_seconds is None or self.time is None:
            return None
        since = max(0.0, now - self.time)  # the clock may have been set back
        return max(0.0, self.step_seconds * (self.steps - self.step) - since)


class Records:
    """The lowest value of a measurement, also after later steps were taken back by a resumed run."""

    def __init__(self) -> None:
        self._lower: list[tuple[int, float]] = []  # each value that was lower than all before it, with its step

    def add(self, step: int, value: float | None) -> None:
        """A measurement; it replaces those of its own step and of later ones. None: it is no figure."""
        while self._lower and self._lower[-1][0] >= step:
            self._lower.pop()
        if value is not None and (not self._lower or value < self._lower[-1][1]):
            self._lower.append((step, value))

    @property
    def lowest(self) -> float | None:
        """The lowest value; None without any."""
        return self._lower[-1][1] if self._lower else None


class ProgressMeter:
    """Takes the lines of a run in order; lines that a resumed run writes again replace the earlier ones."""

    def __init__(self) -> None:
        self._steps: int | None = None
        self._recent = deque[MetricsLine](maxlen=WINDOW)
        self._losses, self._scores = Records(), Records()

    def add(self, line: MetricsLine) -> None:
        """A line with a `kind` and an integer `step`."""
        if line["kind"] == "plan":
            steps = line.get("steps")
            self._steps = steps if type(steps) is int and 0 <= steps < MOST_STEPS else self._steps
        elif line["kind"] == "train":
            while self._recent and self._recent[-1]["step"] >= line["step"]:
                self._recent.pop()
            self._recent.append(line)
        elif line["kind"] == "validation":
            self._losses.add(line["step"], number_of(line, "loss"))
        elif line["kind"] == "probe":
            score = number_of(line, "score")
            self._scores.add(line["step"], None if score is None else -score)

    @property
    def progress(self) -> RunProgress:
        """The progress after the lines so far."""
        score = self._scores.lowest
        best = RunProgress(
            steps=self._steps, best_loss=self._losses.lowest, best_score=None if score is None else -score
        )
        if not self._recent:
            return best
        newest = self._recent[-1]
        seconds = [found for line in self._recent if (found := number_of(line, "step_seconds")) is not None]
        return replace(
            best,
            step=newest["step"],
            loss=number_of(newest, "loss"),
            tokens_per_s=number_of(newest, "tokens_per_s"),
            step_seconds=sum(seconds) / len(seconds) if seconds else None,
            time=number_of(newest, "time"),
        )


def progress_of(lines: Iterable[MetricsLine]) -> RunProgress:
    """The progress of a run with these lines."""
    meter = ProgressMeter()
    for line in lines:
        meter.add(line)
    return meter.progress


def number_of(line: MetricsLine, key: str) -> float | None:
    """A figure of a line; None where it is none, or infinite."""
    found = line.get(key)
    if not isinstance(found, int | float) or isinstance(found, bool) or not abs(found) < HUGE:
        return None
    return float(found)
