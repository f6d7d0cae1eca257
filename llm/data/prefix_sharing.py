"""Samples of a pack that begin alike share those tokens: a common prefix is laid out, and computed, once.

Three samples about one image (`I I`) under one begin token; an answer's first token is the target of the row before it:

    <s> I I what color | red        <s> I I ─┬─ what ─┬─ color
    <s> I I what shape | box                 │        └─ shape
    <s> I I is it big  | no                  └─ is it big

As one sample of 9 rows instead of 16 (the tree's nodes depth first; `what` alone would save too little, see LEAST):

    row                       0    1    2    3    4      5      6    7    8
    ids                       <s>  I    I    what color  shape  is   it   big
    position                  0    1    2    3    4      4      3    4    5
    label (- is IGNORED)      -    -    -    -    red    box    -    -    no
    starts of nodes           0              3    4      5      6
    branches (3, 4, 5, 6)                    *    *      *      *
    parents  (0, 1, 1, 0)                    0    1      1      0

    attends to rows           0    1    2    3    4      5      6    7    8
    row 4 (color)             x    x    x    x    x
    row 5 (shape)             x    x    x    x           x
    row 7 (it)                x    x    x                       x    x

With causal attention a branch that attends to its ancestors and to itself has the logits of the separate sample, so
loss and gradient are those of separate samples. A prefix holds no target, or it would be counted once instead of once
a sample, and never a part of an image.

`data.turns: apart` shares one prefix between the questions of a record, when records are encoded, and a record whose
answers have different prompts (`Encoder.encode`) becomes a tree of them. `train.fold` plans samples with equal
`prefix_key` into one pack, at the cost of one shared prefix; the pack is then laid out as a tree of any depth.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from llm.encoding.encoder import IGNORED, Sample
from llm.formats.conversation import ImageRef, tokens_of_images
from llm.machine_constants import SHARED_TOKENS

LEAST = SHARED_TOKENS.count  # tokens that a node of its own has to save
LEAD = 16  # tokens that samples of one prefix key have in common at least
NO_PREFIX = 0  # the key of a sample that is planned by itself


# Layout ---------------------------------------------------------------------------------------------------------------


def share_prefixes(samples: list[Sample], image_id: int | None = None) -> tuple[Sample, tuple[int, ...]]:
    """One sample, equal in loss and gradient to all of `samples`, that computes prefixes of at least LEAST rows once.

    A prefix ends at the first difference (images count as equal when they are the same file), and before the first
    target and the image whose rows hold it. A sample with branches counts as that many sequences. Also returns, for
    each leaf in the order of its rows, which of `samples` its targets belong to.
    """
    return _as_tree(samples, image_id, LEAST, nested=True)


def share_one_prefix(samples: list[Sample], image_id: int | None = None) -> Sample:
    """The same with one prefix, of any length, and one branch a sample: a tree of one level.

    A sample alone stays as it is.
    """
    return samples[0] if len(samples) == 1 else _as_tree(samples, image_id, 0, nested=False)[0]


def share_within(samples: list[Sample], budget: int, image_id: int | None = None) -> Iterator[Sample]:
    """`share_prefixes` of as many samples after each other as take at most `budget` rows; one alone may take more."""
    group = samples[:1]
    tree = samples[0]
    for sample in samples[1:]:
        larger, _ = share_prefixes([*group, sample], image_id)
        if len(larger.ids) > budget:
            yield tree
            group, tree = [sample], sample
        else:
            group, tree = [*group, sample], larger
    yield tree


def _as_tree(
    samples: list[Sample], image_id: int | None, least: int, *, nested: bool
) -> tuple[Sample, tuple[int, ...]]:
    numbers: dict[ImageRef, int] = {}
    sequences = [
        sequence for index, sample in enumerate(samples) for sequence in _sequences(sample, index, image_id, numbers)
    ]
    if len(sequences) == 1:
        return samples[0], (0,)
    nodes = [*_nodes(sequences, least, nested)]
    starts = np.cumsum([node.end - node.start for node in nodes])[:-1]
    parents = tuple(node.parent for node in nodes[1:])
    tree = Sample(
        np.concatenate([node.sequence.ids[node.start : node.end] for node in nodes]),
        np.concatenate([node.sequence.labels[node.start : node.end] for node in nodes]),
        tuple(image for node in nodes for image in node.images),
        tuple(starts.tolist()),
        parents if any(parents) else (),
    )
    return tree, tuple(node.sequence.index for node in nodes if node.is_leaf)


@dataclass(frozen=True, slots=True)
class _Sequence:
    """A sample without branches, or one branch with the prefix it continues."""

    ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    images: tuple[ImageRef, ...]
    image_starts: NDArray[np.int64]
    keys: NDArray[np.int64]  # of the rows that may be shared: token ids; for image rows a number < 0 for each image
    index: int  # of its sample


@dataclass(frozen=True, slots=True)
class _Node:
    """Rows `start` to `end` of a sequence, which continue those of node number `parent`."""

    sequence: _Sequence
    start: int
    end: int
    parent: int
    is_leaf: bool

    @property
    def images(self) -> Iterator[ImageRef]:
        """The images whose rows these are: a node holds all rows of an image or none."""
        for image, start in zip(self.sequence.images, self.sequence.image_starts.tolist(), strict=True):
            if self.start <= start < self.end:
                yield image


def _sequences(sample: Sample, index: int, image_id: int | None, numbers: dict[ImageRef, int]) -> Iterator[_Sequence]:
    if not sample.branches:
        yield _sequence(sample, index, image_id, numbers)
        return
    nodes = [(start, end) for start, end, _ in sample.nodes()]
    images = _images_of_nodes(sample, nodes, image_id)
    for path in sample.paths():
        ids = np.concatenate([sample.ids[slice(*nodes[node])] for node in path])
        labels = np.concatenate([sample.labels[slice(*nodes[node])] for node in path])
        of_path = tuple(image for node in path for image in images[node])
        yield _sequence(Sample(ids, labels, of_path), index, image_id, numbers)


def _images_of_nodes(sample: Sample, nodes: list[tuple[int, int]], image_id: int | None) -> list[tuple[ImageRef, ...]]:
    """The images whose tokens each node holds."""
    starts, _ = _image_places(sample, image_id)
    rest = iter(sample.images)
    return [tuple(islice(rest, int(((start <= starts) & (starts < end)).sum()))) for start, end in nodes]


def _image_places(sample: Sample, image_id: int | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first row and the number of rows of each image."""
    rows = np.flatnonzero(sample.ids == (-1 if image_id is None else image_id))
    counts = np.array(tokens_of_images(sample.images, len(rows)), np.int64)
    assert counts.sum() == len(rows), f"{len(rows)} image rows for {len(sample.images)} images"
    return rows[np.cumsum(counts) - counts], counts


def _sequence(sample: Sample, index: int, image_id: int | None, numbers: dict[ImageRef, int]) -> _Sequence:
    starts, counts = _image_places(sample, image_id)
    keys = sample.ids.astype(np.int64)
    image_keys = [-1 - numbers.setdefault(image, len(numbers)) for image in sample.images]
    keys[keys == (-1 if image_id is None else image_id)] = np.repeat(np.array(image_keys, np.int64), counts)
    end = _first_target(sample)
    cut = starts[(starts < end) & (end < starts + counts)]  # the image whose own rows hold the first target
    keys = keys[: int(cut[0]) if len(cut) else end]
    return _Sequence(sample.ids, sample.labels, sample.images, starts, keys, index)


def _nodes(sequences: list[_Sequence], least: int, nested: bool) -> Iterator[_Node]:
    """Depth first. Node 0 is the prefix of all sequences, empty where it would save fewer than `least` rows."""
    waiting, count = [(sequences, 0, 0)], 0
    while waiting:
        members, start, parent = waiting.pop()
        first, is_leaf = members[0], len(members) == 1
        end = len(first.ids) if is_leaf else start + _common_keys(members, start)
        is_node = is_leaf or (len(members) - 1) * (end - start) >= least
        if is_node or not count:
            end_of_node = end if is_node else start
            yield _Node(first, start, end_of_node, parent, is_leaf)
            parent, start = count, end_of_node
            count += 1
        if not is_leaf:
            children = _by_next_key(members, end) if nested else [[member] for member in members]
            waiting += [(child, start, parent) for child in reversed(children)]


def _common_keys(members: list[_Sequence], start: int) -> int:
    """How many keys from `start` on all members have in common."""
    return len(reduce(common_prefix, (member.keys[start:] for member in members)))


def _by_next_key(members: list[_Sequence], end: int) -> list[list[_Sequence]]:
    """Members with equal keys at `end` together, in the order of their first; alone where no further row is shared."""
    groups: dict[tuple[str, int], list[_Sequence]] = {}
    for number, member in enumerate(members):
        key = ("key", int(member.keys[end])) if end < len(member.keys) else ("alone", number)
        groups.setdefault(key, []).append(member)
    return list(groups.values())


def first_sequence(sample: Sample, image_id: int | None = None) -> Sample:
    """The first of the sequences in a sample with branches; a sample without branches as it is."""
    first = next(_sequences(sample, 0, image_id, {}))
    return Sample(first.ids, first.labels, first.images)


# Planning -------------------------------------------------------------------------------------------------------------


def prefix_key(sample: Sample, image_id: int | None = None) -> int:
    """Equal for samples with the same images and the same tokens up to the last image's end, and LEAD at least.

    NO_PREFIX for samples with branches, and where a target is within that: an image after it could not be shared.
    """
    rows = np.flatnonzero(sample.ids == (-1 if image_id is None else image_id))
    lead = max(LEAD, int(rows[-1]) + 1 if len(rows) else 0)
    if sample.branches or not (sample.labels != IGNORED).any() or _first_target(sample) < lead:
        return NO_PREFIX
    content = "\n".join(image.path for image in sample.images).encode() + sample.ids[:lead].tobytes()
    return 1 + int.from_bytes(hashlib.sha256(content).digest()[:7], "big")


def group_by_key(keys: Sequence[int]) -> list[list[int]]:
    """Indices of equal keys together, groups in the order of their first; NO_PREFIX always alone."""
    groups: dict[int, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(-1 - index if key == NO_PREFIX else key, []).append(index)
    return list(groups.values())


def shared_lengths(samples: Iterable[Sample]) -> Iterator[int]:
    """Rows of `share_one_prefix` of the first sample, of the first two, and so on; each sample is read once."""
    prefix, rows = np.empty(0, np.int32), 0
    for number, sample in enumerate(samples):
        untrained = sample.ids[: _first_target(sample)]
        prefix = common_prefix(prefix, untrained) if number else untrained
        rows += len(sample.ids)
        yield rows - number * len(prefix)


def common_prefix(one: NDArray[np.signedinteger], other: NDArray[np.signedinteger]) -> NDArray[np.signedinteger]:
    """The longest array that both begin with."""
    length = min(len(one), len(other))
    differs = np.flatnonzero(one[:length] != other[:length])
    return one[: differs[0] if len(differs) else length]


def _first_target(sample: Sample) -> int:
    """The first row with a label; 0 without any."""
    return int((sample.labels != IGNORED).argmax())
