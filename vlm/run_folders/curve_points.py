"""A curve of any length in a bounded number of points that keeps its spikes: the lowest and the highest of each bucket.

Buckets are `width` steps wide and begin at multiples of it:

    steps    0 1 2 3 | 4 5 6 7 | 8 9 10 11 |      width 4
    kept       l   h |   h l   |   l    h  |      in the order of their steps, and the first and last point of all

When there are more than MOST_BUCKETS, two neighbours become one and `width` doubles. Since buckets begin at multiples
of their width, the result is the same as if all points had been sorted into buckets of the final width at once.
"""

from dataclasses import dataclass

MOST_BUCKETS = 600  # more than a chart has pixels for: at most twice as many points are shown, and two
Point = tuple[int, float]  # step and value


@dataclass(slots=True)
class _Bucket:
    """The points of neighbouring steps; `place`: their first step divided by the width."""

    place: int
    low: Point
    high: Point
    count: int
    steps: int  # sum
    values: float  # sum

    def take(self, other: "_Bucket") -> None:
        """The points of a later bucket are this one's."""
        self.low = min(self.low, other.low, key=_value)
        self.high = max(self.high, other.high, key=_value)
        self.count += other.count
        self.steps += other.steps
        self.values += other.values


class Curve:
    """Points are added in the order of their steps; a step that is repeated takes back what came at it and after."""

    def __init__(self, most: int = MOST_BUCKETS) -> None:
        """`most`: buckets."""
        self.width = 1
        self._most = most
        self.first: Point | None = None
        self.last: Point | None = None
        self._buckets: list[_Bucket] = []

    def add(self, step: int, value: float) -> None:
        """A point; the value is finite."""
        point = (step, value)
        if self.last is None or self.first is None:
            self.first = point
        elif step <= self.last[0]:
            self._take_back(step)
            self.first = point if step <= self.first[0] else self.first
        self.last = point
        place = step // self.width
        if self._buckets and self._buckets[-1].place == place:
            bucket = self._buckets[-1]
            if value < bucket.low[1]:
                bucket.low = point
            if value > bucket.high[1]:
                bucket.high = point
            bucket.count += 1
            bucket.steps += step
            bucket.values += value
            return
        self._buckets.append(_Bucket(place, point, point, 1, step, value))
        while len(self._buckets) > self._most:
            self._widen()

    def points(self) -> list[Point]:
        """At most two for each bucket, and two more, in the order of their steps."""
        if self.first is None or self.last is None:
            return []
        found = {self.first, self.last}
        for bucket in self._buckets:
            found |= {bucket.low, bucket.high}
        return sorted(found)

    def means(self) -> list[tuple[float, float]]:
        """Mean step and mean value of each bucket."""
        return [(one.steps / one.count, one.values / one.count) for one in self._buckets]

    @property
    def lowest(self) -> Point | None:
        """The point of the lowest value, the first of equal ones."""
        return min((one.low for one in self._buckets), key=_value, default=None)

    @property
    def highest(self) -> Point | None:
        """The point of the highest value, the first of equal ones."""
        return max((one.high for one in self._buckets), key=_value, default=None)

    def _widen(self) -> None:
        self.width *= 2
        merged: list[_Bucket] = []
        for bucket in self._buckets:
            bucket.place //= 2
            if merged and merged[-1].place == bucket.place:
                merged[-1].take(bucket)
            else:
                merged.append(bucket)
        self._buckets = merged

    def _take_back(self, step: int) -> None:
        """Points from a step on go. Of a bucket that has some before it, only an extreme before it is known."""
        while self._buckets and self._buckets[-1].place * self.width >= step:
            self._buckets.pop()
        if not self._buckets or self._buckets[-1].place < step // self.width:
            return
        bucket = self._buckets.pop()
        for point in sorted({bucket.low, bucket.high}):
            if point[0] < step and (not self._buckets or self._buckets[-1].place < bucket.place):
                self._buckets.append(_Bucket(bucket.place, point, point, 1, *point))
            elif point[0] < step:
                self._buckets[-1].take(_Bucket(bucket.place, point, point, 1, *point))


def _value(point: Point) -> float:
    return point[1]
