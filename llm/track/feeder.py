"""Feeds one tracker with one run: `python -m llm.track.feeder NAME RUN`, a process beside training.

It reads what training writes, so that a tracker that fails, hangs or dies costs training nothing. Standard input is a
pipe from the trainer: a byte says that there are new lines, FINISHED that the run reached its end, and the end of the
pipe that the trainer is gone, for whatever reason. Then the rest is handed on within LAST_S seconds.

Before something is handed on, its steps are noted as sent; they are taken back if the tracker raises. So nothing is
sent twice, and a process that is killed in between costs that one part. A resumed run repeats steps after its
checkpoint: those that were sent are not sent again.
"""

import fcntl
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from llm.errors import EyegraftError
from llm.files.owned_files import make_owned_folder, open_owned
from llm.files.regular_files import RECIPE, read_text
from llm.track.metrics_tail import MetricsLine, MetricsTail
from llm.track.probe_answers import answered_steps, read_answers
from llm.track.progress import FeedProgress, read_progress, track_file, write_progress
from llm.track.tracker import Point, TrackedRun, Tracker
from llm.track.trackers import TRACKERS

WAKE, FINISHED = b"\n", b"F"
LAST_S = 120  # to hand on the rest once the trainer is gone
ENDING_S = 10  # after that, for the libraries' own last steps
MOST_POINTS = 100  # handed on at once
ANSWERS = "answers"
WRITER = "writer.lock"  # written by every process that begins to train in the folder


class Feeder:
    """Hands the new lines of a run on to one tracker, which is opened with the first of them."""

    def __init__(self, name: str, run: Path) -> None:
        self._name, self._run = name, run
        found = read_progress(run, name)
        self._new, self._progress = found is None, found or FeedProgress()
        self._tail = MetricsTail(run, self._progress.sent)
        self._begun = _begun(run)
        self._tracker: Tracker | None = None

    def hand_on(self) -> None:
        """Hand on what is new, in order of steps. Raises whatever the tracker raises."""
        lines = [line for line in self._tail.read_all() if line["kind"] != "plan"]
        if _begun(self._run) != self._begun:
            return  # another process trains this run by now, and may have cut the file off before it was read
        sent = self._progress.sent
        reached = max([*sent.values(), *(line["step"] for line in lines)], default=-1)
        for part in _in_order(lines, answered_steps(self._run, sent.get(ANSWERS, -1), reached)):
            if isinstance(part, int):
                self._hand_on_answers(part)
            else:
                self._hand_on_lines(part)

    def close(self, finished: bool) -> None:
        """Let the tracker store what is on its way."""
        if self._tracker is not None:
            self._tracker.close(finished)

    def _hand_on_lines(self, lines: list[MetricsLine]) -> None:
        progress = self._progress
        for line in lines:
            progress = progress.after(line["kind"], line["step"])
        points = [_point(line) for line in lines]
        self._send(lambda tracker: tracker.log(points), progress)

    def _hand_on_answers(self, step: int) -> None:
        answers = read_answers(self._run, step)
        if answers.answers:
            self._send(lambda tracker: tracker.log_answers(answers), self._progress.after(ANSWERS, step))

    def _send(self, call: Callable[[Tracker], None], after: FeedProgress) -> None:
        """Note what is sent, send it, and take the note back if that raises."""
        tracker = self._tracker = self._tracker or self._open()
        before, sent = self._progress, False
        write_progress(self._run, self._name, after)
        try:
            call(tracker)
            sent = True
        finally:
            if not sent:
                write_progress(self._run, self._name, before)
        self._progress = after

    def _open(self) -> Tracker:
        write_progress(self._run, self._name, self._progress)  # its id, before anything is stored under it
        folder = make_owned_folder(track_file(self._run, self._name))
        recipe = yaml.safe_load(read_text(self._run / "config.yaml", RECIPE))
        settings = {"recipe": recipe, "data": _facts(self._run)}
        run = TrackedRun(str(recipe["name"]), folder, self._progress.id, self._new, settings)
        return TRACKERS[self._name].open(run)


def _in_order(lines: list[MetricsLine], answered: list[int]) -> Iterator[list[MetricsLine] | int]:
    """Lines, several at once, and steps with answers, which come after the lines of their step."""
    waiting = deque(answered)
    for start in range(0, len(lines), MOST_POINTS):
        part: list[MetricsLine] = []
        for line in lines[start : start + MOST_POINTS]:
            while waiting and waiting[0] < line["step"]:
                if part:
                    yield part
                    part = []
                yield waiting.popleft()
            part.append(line)
        yield part
    yield from waiting


def _point(line: MetricsLine) -> Point:
    figures = {
        f"{line['kind']}/{name}": float(value)
        for name, value in line.items()
        if name not in ("step", "time") and isinstance(value, int | float) and not isinstance(value, bool)
    }
    return Point(line["step"], float(line.get("time", 0)), figures)


def _facts(run: Path) -> MetricsLine:
    """Counts of the data, from the first line of the metrics; empty where that is another."""
    lines = MetricsTail(run, {}).read()
    plan = lines[0] if lines and lines[0]["kind"] == "plan" else {}
    return {name: value for name, value in plan.items() if name not in ("kind", "step", "time")}


def _begun(run: Path) -> int:
    """When the process that trains in the folder began, in ns since 1970; 0 where none ever did."""
    try:
        return (run / WRITER).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def feed(name: str, run: Path, pipe: int) -> None:
    """Feed until the pipe ends. Raises whatever the tracker raises."""
    with open_owned(track_file(run, name, ".lock"), "a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the feeder of a trainer that was killed may still hand on its rest
        feeder, finished = Feeder(name, run), False
        while woken := os.read(pipe, 1 << 16):
            finished = finished or FINISHED in woken
            feeder.hand_on()
        _limit_time()
        feeder.hand_on()
        feeder.close(finished)


def _limit_time() -> None:
    """Raise TimeoutError in LAST_S seconds, and end the process ENDING_S later."""

    def late(*_: object) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(ENDING_S)
        raise TimeoutError(f"not everything was stored within {LAST_S} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(LAST_S)


def main() -> int:
    """Feed the tracker and the run that the command names. What goes wrong is the last line of standard error."""
    name, run = sys.argv[1], Path(sys.argv[2])
    try:
        feed(name, run, sys.stdin.fileno())
    except EyegraftError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
