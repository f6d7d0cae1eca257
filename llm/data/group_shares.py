"""Assign groups of records to the parts of a split, as near to the requested shares as complete groups allow."""

from collections.abc import Mapping, Sequence

from llm.errors import DataError


def assign(sizes: Sequence[int], shares: Mapping[str, float]) -> list[str]:
    """The part of every group, given the sizes of groups in the order they were drawn.

    Parts choose in order of their shares, the smallest first: every group that still fits, then one more if that
    comes nearer. Each misses its share by at most half of the smallest group it did not take; the largest part gets
    the rest. DataError when a part would be empty.
    """
    if len(sizes) < len(shares):
        records, groups = sum(sizes), len(sizes)
        found = f"{records} records that stay together in {groups} group{'s' * (groups != 1)}"
        found = f"{records} record{'s' * (records != 1)}" if records == groups else found
        advice = "Records that share an image, an id or all words stay together: add others, or ask for fewer parts"
        raise DataError(f"{found} cannot fill {len(shares)} parts. {advice}")
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
