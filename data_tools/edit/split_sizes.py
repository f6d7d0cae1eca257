"""How much each side of a split gets, and which groups: as near to what was asked for as whole groups come."""

import math
import re
from collections.abc import Mapping, Sequence

from llm.errors import ConfigError, DataError

TRAIN, VALIDATION = "train", "validation"


def read_shares(written: Sequence[str], share: float) -> dict[str, float]:
    """`name=share` by name, or train and validation where only the latter's `share` is given.

    ConfigError unless there are two sides or more, each above 0 and together 1.
    """
    if written and share:
        raise ConfigError("--share: stands beside named shares. Give one of the two")
    shares = dict(map(_named, written)) if written else {TRAIN: 1 - share, VALIDATION: share}
    if len(shares) < max(2, len(written)):
        raise ConfigError(f"{' '.join(written)}: two sides or more with names of their own are needed, as train=0.9")
    if not all(0 < value < 1 for value in shares.values()) or not math.isclose(sum(shares.values()), 1):
        said = " ".join(f"{name}={value:g}" for name, value in shares.items())
        raise ConfigError(f"{said}: shares lie between 0 and 1 and add up to 1. For example --share 0.1")
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
    """The side of every group; `sizes` stand in the order they are drawn in.

    The smallest share takes first: every group that still fits, then one more if that brings it nearer. So its rows
    miss what was asked by at most half of the smallest group that it left. The largest share keeps the rest. DataError
    when a side would be empty.
    """
    if len(sizes) < len(shares):
        found = f"rows that stay together form {len(sizes)} group{'s' * (len(sizes) != 1)}"
        advice = "Split what joins them: give rows ids of their own, or leave out a picture that all rows show"
        raise DataError(f"{found}, and {len(shares)} sides need one each. {advice}")
    *small, rest = sorted(shares, key=lambda name: shares[name])
    sides = [rest] * len(sizes)
    left = list(range(len(sizes)))
    for number, name in enumerate(small):
        spare = len(shares) - 1 - number  # the sides still to come need a group each
        taken = _nearest([sizes[index] for index in left], shares[name] * sum(sizes), len(left) - spare)
        for place in taken:
            sides[left[place]] = name
        left = [index for place, index in enumerate(left) if place not in taken]
    return sides


def _nearest(sizes: Sequence[int], wanted: float, most: int) -> set[int]:
    """Places of at least one and at most `most` groups whose rows come near to `wanted`."""
    taken, rows = set[int](), 0
    for place, size in enumerate(sizes):
        if len(taken) < most and rows + size <= wanted:
            taken.add(place)
            rows += size
    left = [place for place in range(len(sizes)) if place not in taken]
    one_more = min(left, key=lambda place: sizes[place])  # `most` leaves one
    if not taken or (len(taken) < most and rows + sizes[one_more] - wanted < wanted - rows):
        taken.add(one_more)
    return taken
