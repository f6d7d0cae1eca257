"""Metrics in Prometheus' text format 0.0.4, which every Prometheus reads.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import threading
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[str, ...]  # values of a metric's labels, in the order of their names
Reading = float | Mapping[Labels, float]


class Family(ABC):
    """Samples of one name. Labels have few values, and none that a user writes: each combination is kept for good."""

    def __init__(self, kind: str, name: str, about: str, labels: Sequence[str] = ()) -> None:
        self.kind, self.name, self.about, self.labels = kind, name, about, tuple(labels)

    @abstractmethod
    def samples(self) -> Iterator[str]:
        """The lines with values."""

    def lines(self) -> Iterator[str]:
        """All lines: what it is, its type, its samples."""
        yield f"# HELP {self.name} {_escaped(self.about)}"
        yield f"# TYPE {self.name} {self.kind}"
        yield from self.samples()

    def line(self, value: float, values: Labels = (), suffix: str = "", more: str = "") -> str:
        """One sample; `more` is a label with its value that the suffix brings."""
        named = [f'{name}="{_quoted(one)}"' for name, one in zip(self.labels, values, strict=True)]
        held = ",".join([*named, more] if more else named)
        return f"{self.name}{suffix}{{{held}}} {_number(value)}" if held else f"{self.name}{suffix} {_number(value)}"


class Gauge(Family):
    """A number that grows and shrinks. Thread-safe."""

    kind = "gauge"

    def __init__(self, name: str, about: str, labels: Sequence[str] = ()) -> None:
        assert name.endswith("_total") == (self.kind == "counter"), "Prometheus' names of counters"
        super().__init__(self.kind, name, about, labels)
        self._lock = threading.Lock()
        self._values: dict[Labels, float] = {} if labels else {(): 0.0}

    def add(self, *values: str, by: float = 1.0) -> None:
        """Add to the number under these values of its labels."""
        with self._lock:
            self._values[values] = self._values.get(values, 0.0) + by

    def samples(self) -> Iterator[str]:
        """One for each combination of labels that was counted."""
        with self._lock:
            found = sorted(self._values.items())
        return (self.line(value, values) for values, value in found)


class Counter(Gauge):
    """A number that only grows. Thread-safe."""

    kind = "counter"


class Reader(Family):
    """A gauge or counter that is read when it is asked for."""

    def __init__(
        self, kind: str, name: str, about: str, read: Callable[[], Reading], labels: Sequence[str] = ()
    ) -> None:
        super().__init__(kind, name, about, labels)
        self._read = read

    def samples(self) -> Iterator[str]:
        """What is read now."""
        found = self._read()
        values = found if isinstance(found, Mapping) else {(): float(found)}
        return (self.line(value, labels) for labels, value in sorted(values.items()))


class Histogram(Family):
    """How values are distributed over buckets, each with an upper bound. Thread-safe."""

    def __init__(self, name: str, about: str, bounds: Sequence[float]) -> None:
        assert list(bounds) == sorted(set(bounds))
        super().__init__("histogram", name, about)
        self._bounds, self._counts, self._sum = tuple(bounds), [0] * (len(bounds) + 1), 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Count a value, in the first bucket whose bound is not below it."""
        with self._lock:
            self._counts[bisect_left(self._bounds, value)] += 1
            self._sum += value

    def samples(self) -> Iterator[str]:
        """The buckets, each with those below it, then sum and count."""
        with self._lock:
            counts, total = [*accumulate(self._counts)], self._sum
        bounds = [*map(_number, self._bounds), "+Inf"]
        for bound, count in zip(bounds, counts, strict=True):
            yield self.line(count, suffix="_bucket", more=f'le="{bound}"')
        yield self.line(total, suffix="_sum")
        yield self.line(counts[-1], suffix="_count")


def exposition(families: Sequence[Family]) -> str:
    """The text of all metrics."""
    assert len({family.name for family in families}) == len(families), "one family a name"
    return "".join(f"{line}\n" for family in families for line in family.lines())


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
