"""What a tracker is given, and what each of the five offers.

Every tracker has a module of its own, which imports its package in functions only: a package is needed where a recipe
names it, and nowhere else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

PROJECT = "eyegraft"
"""Name under which a tracker shows all runs, where the user's environment names none."""


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run as a tracker shows it.

    Attributes:
        name: The recipe's `name`.
        folder: For the tracker's own files; it exists.
        id: Made once for each run and tracker, so that a resumed run goes on as the same one.
        new: Whether nothing was stored under `id` yet.
        settings: The resolved recipe under `recipe`, and counts of the data under `data`.
    """

    name: str
    folder: Path
    id: str
    new: bool
    settings: Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Point:
    """The figures of one line of metrics.jsonl, by names such as `train/loss`; `time`: seconds since 1970."""

    step: int
    time: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Answer:
    """A probe's question, its answer, and the image that was shown; None where there was none or it is gone."""

    prompt: str
    text: str
    image: Image.Image | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to all probes after one step."""

    step: int
    time: float
    answers: Sequence[Answer]


class Tracker(Protocol):
    """An open run of a tracker. Any exception of its methods means that nothing of the call was stored."""

    def log(self, points: Sequence[Point]) -> None:
        """Store figures, in order of their steps."""
        ...

    def log_answers(self, answers: Answers) -> None:
        """Store answers as text, with their images where the tracker can."""
        ...

    def close(self, finished: bool) -> None:
        """Store what is still on its way. `finished`: the run reached its end; otherwise it may be resumed."""
        ...


@dataclass(frozen=True, slots=True)
class TrackerKind:
    """A tracker that a recipe can name.

    Attributes:
        package: The package that is imported.
        install: What pip installs.
        open: Opens or resumes a run.
        problem: Why it cannot be used here and what to do, as a sentence; empty where it can.
    """

    package: str
    install: str
    open: Callable[[TrackedRun], Tracker]
    problem: Callable[[], str]


def flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested mappings as one, with keys such as `recipe.optim.lr`."""
    found: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
