"""What both sides measure alike."""

import resource
from statistics import median


def peak_gib() -> float:
    """The largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def seconds_a_step(ends: list[float], warmup: int) -> list[float]:
    """From the end of one step to the end of the next, the warm-up left out: waiting for data counts."""
    return [later - earlier for earlier, later in zip(ends[warmup - 1 :], ends[warmup:], strict=False)]


def spread(values: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": median(values), "min": min(values), "max": max(values)}
