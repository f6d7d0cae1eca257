"""All samples of a pack that begin alike, to any depth, as one tree: every shared beginning is computed once.

`llm.data.prefix_sharing` gives records about one picture, or under one system prompt, one prefix;
steps are planned by that. A pack
holds more that is alike: a chat template's opening before every picture, "Is there a" before many questions. With a
causal model each of these is one run of rows that all its branches see, and loss and gradient stay those of separate
samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from llm.data.prefix_sharing import alike_until
from llm.encoding.encoder import IGNORED, Sample
from llm.formats.conversation import ImageRef

# Rows that a beginning must save: a run of its own costs attention some calls a layer.
LEAST = 4


def grow(samples: list[Sample], image_id: int | None = None) -> tuple[Sample, tuple[int, ...]]:
    """One sample, equal in loss and gradient to all of `samples`; and whose targets follow whose: places in `samples`.

    A beginning ends before the first difference, another picture and the first target, so that no target is counted
    twice or lost. A folded sample counts as its branches, each of which has its place.
    """
    numbers: dict[ImageRef, int] = {}
    paths = [path for place, sample in enumerate(samples) for path in _paths(sample, place, image_id, numbers)]
    if len(paths) == 1:
        return samples[0], (0,)
    runs = [*_runs(paths)]
    starts = np.cumsum([run.end - run.start for run in runs])[:-1]
    grown = Sample(
        np.concatenate([run.path.ids[run.start : run.end] for run in runs]),
        np.concatenate([run.path.labels[run.start : run.end] for run in runs]),
        tuple(image for run in runs for image in run.images),
        tuple(starts.tolist()),
        tuple(run.parent for run in runs[1:]),
    )
    return grown, tuple(run.path.place for run in runs if run.is_leaf)


@dataclass(frozen=True, slots=True)
class _Path:
    """One sequence from its first token to its last."""

    ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    images: tuple[ImageRef, ...]
    image_starts: NDArray[np.int64]
    keys: NDArray[np.int64]  # of the rows that may be shared: their tokens, below 0 for each distinct image
    place: int


@dataclass(frozen=True, slots=True)
class _Run:
    """Rows of a path that follow those of another run; its parent is that one's number."""

    path: _Path
    start: int
    end: int
    parent: int
    is_leaf: bool

    @property
    def images(self) -> Iterator[ImageRef]:
        """Those that stand in it: an image is never cut."""
        for image, start in zip(self.path.images, self.path.image_starts.tolist(), strict=True):
            if self.start <= start < self.end:
                yield image


def _paths(sample: Sample, place: int, image_id: int | None, numbers: dict[ImageRef, int]) -> Iterator[_Path]:
    assert not sample.parents, "a tree does not grow again"
    prefix = sample.branches[0] if sample.branches else 0
    ends = [*sample.branches[1:], len(sample.ids)]
    opening, unlearnt = sample.ids[:prefix], sample.labels[:prefix]
    for start, end in zip(sample.branches or (0,), ends, strict=True):
        ids = np.concatenate([opening, sample.ids[start:end]])
        labels = np.concatenate([unlearnt, sample.labels[start:end]])
        yield _path(Sample(ids, labels, sample.images), place, image_id, numbers)


def _path(sample: Sample, place: int, image_id: int | None, numbers: dict[ImageRef, int]) -> _Path:
    shown = np.flatnonzero(sample.ids == (-1 if image_id is None else image_id))
    each = len(shown) // max(len(sample.images), 1)
    starts = shown[::each] if each else shown
    assert len(starts) == len(sample.images), f"{len(shown)} image rows for {len(sample.images)} images"
    keys = sample.ids.astype(np.int64)
    named = [-1 - numbers.setdefault(image, len(numbers)) for image in sample.images]
    keys[shown] = np.repeat(np.array(named, np.int64), each)
    end = int((sample.labels != IGNORED).argmax())
    cut = starts[(starts < end) & (end < starts + each)]  # a target on an image's own rows
    return _Path(sample.ids, sample.labels, sample.images, starts, keys[: int(cut[0]) if len(cut) else end], place)


def _runs(paths: list[_Path]) -> Iterator[_Run]:
    """Depth first; the first is what all begin with, empty where that is not worth a run."""
    left, count = [(paths, 0, 0)], 0
    while left:
        members, start, parent = left.pop()
        first, several = members[0], len(members) > 1
        end = start + _common(members, start) if several else len(first.ids)
        is_run = not several or (len(members) - 1) * (end - start) >= LEAST
        if is_run or not count:
            yield _Run(first, start, end if is_run else start, parent, not several)
            parent, start = count, end if is_run else start
            count += 1
        if several:
            left += [(group, start, parent) for group in reversed(_apart(members, end))]


def _common(members: list[_Path], start: int) -> int:
    return len(reduce(alike_until, (path.keys[start:] for path in members)))


def _apart(members: list[_Path], end: int) -> list[list[_Path]]:
    """By the row at `end`, each group where its first member stands; alone where no further row may be shared."""
    groups: dict[tuple[str, int], list[_Path]] = {}
    for number, path in enumerate(members):
        key = ("row", int(path.keys[end])) if end < len(path.keys) else ("alone", number)
        groups.setdefault(key, []).append(path)
    return list(groups.values())
