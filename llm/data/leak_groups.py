"""Which records of a data set stay on one side of a split: those that share an image, an id or all their words.

Records are nodes of a graph, an edge joins two that share a key, and a group is a connected component. Groups are drawn
by a hash, so that a record stays on its side when the data is moved or grows.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SharedKey = tuple[str, bytes]
"""(`image`, `id` or `words`, a hash of it)."""


@dataclass(frozen=True, slots=True)
class RecordKeys:
    """The keys of a record, the hash that its side is drawn by, and whether it names image files."""

    keys: tuple[SharedKey, ...]
    draw: int
    files: bool = False


@dataclass(frozen=True, slots=True)
class LeakGroups:
    """The groups of a data set.

    Args:
        of: The group of each record.
        sizes: Records of each group.
        draws: The smallest `draw` of the records of each group.
        links: How many joins each kind of key made.
        files: Whether any record names an image file.
    """

    of: list[int]
    sizes: list[int]
    draws: list[int]
    links: dict[str, int]
    files: bool


def group(rows: Iterable[RecordKeys]) -> LeakGroups:
    """The connected components (union-find), numbered by their first record."""
    owner: dict[SharedKey, int] = {}
    parents: list[int] = []
    draws: list[int] = []
    links: Counter[str] = Counter()
    files = False
    for number, row in enumerate(rows):
        parents.append(number)
        draws.append(row.draw)
        files = files or row.files
        for key in row.keys:
            first, second = _root(parents, owner.setdefault(key, number)), _root(parents, number)
            if first != second:
                links[key[0]] += 1
                parents[max(first, second)] = min(first, second)
    return _numbered(parents, draws, dict(links), files)


def _root(parents: list[int], row: int) -> int:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


def _numbered(parents: list[int], draws: Sequence[int], links: dict[str, int], files: bool) -> LeakGroups:
    names: dict[int, int] = {}
    of, sizes, least = list[int](), list[int](), list[int]()
    for row in range(len(parents)):
        name = names.setdefault(_root(parents, row), len(names))
        if name == len(sizes):
            sizes.append(0)
            least.append(draws[row])
        of.append(name)
        sizes[name] += 1
        least[name] = min(least[name], draws[row])
    return LeakGroups(of, sizes, least, links, files)


def draw_order(seed: int, draw: int) -> int:
    """The sort key of a group, 64 bits: a hash of seed and draw."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{draw}".encode()).digest()[:8], "big")
