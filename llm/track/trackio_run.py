"""Trackio: a SQLite file and images in TRACKIO_DIR, or in the run folder. Nothing leaves the machine."""

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from llm.track.tracker import PROJECT, Answer, Answers, Point, TrackedRun, TrackerKind

FOLDER = "TRACKIO_DIR"
REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")


class TrackioRun:
    """A run of Trackio, which knows runs by their names: each has the id in its own."""

    def __init__(self, run: TrackedRun) -> None:
        os.environ.setdefault(FOLDER, str(run.folder))  # read when it is imported
        import trackio

        self._run = trackio.init(
            PROJECT,
            name=f"{run.name}-{run.id}",
            config=dict(run.settings),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, points: Sequence[Point]) -> None:
        """Queue figures; a thread of Trackio's stores them within a second."""
        for point in points:
            self._run.log(dict(point.values), step=point.step)

    def log_answers(self, answers: Answers) -> None:
        """Store the answers as a table with images."""
        import trackio

        table = trackio.Table(columns=["prompt", "image", "answer"], data=[_row(answer) for answer in answers.answers])
        self._run.log({"probes/answers": table}, step=answers.step)

    def close(self, finished: bool) -> None:
        """Wait until everything is stored; Trackio has no states of runs."""
        self._run.finish()


def _row(answer: Answer) -> "list[Any]":
    import trackio

    return [answer.prompt, answer.image and trackio.Image(answer.image), answer.text]


def _problem() -> str:
    import_module("trackio")
    named = [name for name in REMOTE if os.environ.get(name)]
    if named:
        return f"{named[0]} is set, but runs are stored on this machine alone. Unset it; `trackio sync` shares them"
    return ""


TRACKIO = TrackerKind("trackio", "trackio", TrackioRun, _problem)
