"""Assign groups of records to the parts of a split, as near to the requested shares as complete groups allow."""

import math
import re
from collections.abc import Mapping, Sequence

from llm.errors import ConfigError, DataError

TRAIN, VALIDATION = "train", "validation"


def read_shares(written: Sequence[str], share: float) -> dict[str, float]:
    """Parse `name=share`; without any, `share` is that of validation. Returns shares by name.

    ConfigError unless there are two parts or more, each above 0 and together 1.
    """
    if written and share:
        raise ConfigError("--share: given together with named shares. Give one of the two")
    shares = dict(map(_named, written)) if written else {TRAIN: 1 - share, VALIDATION: share}
    if len(shares) < max(2, len(written)):
        raise ConfigError(
            f"{' '.join(written)}: two parts or more with different names are needed. Add for example train=0.9"
        )
    if not all(0 < value < 1 for value in shares.values()) or not math.isclose(sum(shares.values()), 1):
        found = " ".join(f"{name}={value:g}" for name, value in shares.items())
        raise ConfigError(f"{found}: shares must be between 0 and 1 and add up to 1. For example --share 0.1")
    return shares


def _named(written: str) -> tuple[str, float]:
    name, _, value = written.partition("=")
    try:
        share = float(value)
    except ValueError:
        share = math.nan
    if not re.fullmatch(r"[\w-]+", name) or math.isnan(share):
        raise ConfigError(f"{written}: is not NAME=SHARE. Write for example train=0.8 validation=0.1 test=0.1")
    return name, share


def assign(sizes: Sequence[int], shares: Mapping[str, float]) -> list[str]:
    """The part of every group, given the sizes of groups in the order they were drawn.

    Parts choose in order of their shares, the smallest first: every group that still fits, then one more if that
    comes nearer. Each misses its share by at most half of the smallest group it did not take; the largest part gets
    the rest. DataError when a part would be empty.
    """
    if len(sizes) < len(shares):
        found = f"records that stay together form {len(sizes)} group{'s' * (len(sizes) != 1)}"
        advice = "Give records ids of their own, or leave out an image that all records show"
        raise DataError(f"{found}, and {len(shares)} parts need one each. {advice}")
    *small, rest = sorted(shares, key=lambda name: shares[name])
    sides = [rest] * len(sizes)
    left = list(range(len(sizes)))
    for number, name in enumerate(small):
        spare = len(shares) - 1 - number  # parts that choose later need a group each
        taken = _nearest([sizes[index] for index in left], shares[name] * sum(sizes), len(left) - spare)
        for place in taken:
            sides[left[place]] = name
        left = [index for place, index in enumerate(left) if place not in taken]
    return sides


def _nearest(sizes: Sequence[int], wanted: float, most: int) -> set[int]:
    """Indices of at least one and at most `most` groups whose records come near to `wanted`."""
    taken, rows = set[int](), 0
    for place, size in enumerate(sizes):
        if len(taken) < most and rows + size <= wanted:
            taken.add(place)
            rows += size
    left = [place for place in range(len(sizes)) if place not in taken]
    one_more = min(left, key=lambda place: sizes[place])  # not empty, since `most` is below the number of groups
    if not taken or (len(taken) < most and rows + sizes[one_more] - wanted < wanted - rows):
        taken.add(one_more)
    return taken
