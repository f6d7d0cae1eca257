"""Which records of a data set must stay on one side of a split: those that share an image, an id or all their words.

Records are nodes of a graph, an edge joins two that share a key, and a group is a connected component.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llm.config.schema import Source
from llm.errors import ImageError
from llm.files.regular_files import open_regular
from llm.formats.conversation import ImageRef, Message
from llm.formats.readers import READERS, source_records
from llm.formats.row_files import Record

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


def record_keys(source: Source, base: Path, by_content: bool) -> Iterator[RecordKeys]:
    """The keys of every record of a source. Raises what reading raises, ImageError for a missing image file."""
    known: dict[str, ImageHashes] = {}
    for record in source_records(source, base):
        messages = READERS[record.format].read(record)
        images = tuple(_images(messages))
        hashes = [_hash_image(image, record, by_content, known) for image in images]
        words = _digest(_words(messages, hashes) if messages else _raw(record))
        keys = [*(("image", image.key) for image in hashes), ("words", words), *_id(record)]
        files = any(image.path for image in images)
        yield RecordKeys(tuple(keys), _number(hashes[0].name if hashes else words), files)


def _id(record: Record) -> Iterator[SharedKey]:
    name = record.row.get("id")
    if isinstance(name, str | int) and not isinstance(name, bool) and name != "":
        yield "id", _digest(str(name))


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


def _images(messages: Sequence[Message]) -> Iterator[ImageRef]:
    return (part for message in messages for part in message.parts if isinstance(part, ImageRef))


@dataclass(frozen=True, slots=True)
class ImageHashes:
    """Two hashes of an image: `key` is equal for the same image, `name` does not depend on where the data is."""

    key: bytes
    name: bytes


def _hash_image(image: ImageRef, record: Record, by_content: bool, known: dict[str, ImageHashes]) -> ImageHashes:
    if image.data:
        digest = hashlib.sha256(image.data).digest()
        return ImageHashes(digest, digest)
    if image.path not in known:
        content = _content(Path(image.path)) if by_content else b""
        name = content or _digest(os.path.relpath(image.path, record.images))
        known[image.path] = ImageHashes(content or _digest(image.path), name)
    return known[image.path]


def _content(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        advice = "Check the record's image name and --images"
        raise ImageError(f"{path}: {error.strerror}. {advice}") from None


def _words(messages: Sequence[Message], hashes: Sequence[ImageHashes]) -> str:
    """All that training reads of a record, as one text."""
    images = iter(hashes)
    turns = [
        [turn.role, turn.loss, [part if isinstance(part, str) else [next(images).key.hex()] for part in turn.parts]]
        for turn in messages
    ]
    return json.dumps(turns)


def _raw(record: Record) -> str:
    return repr(sorted(record.row.items()))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _number(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big")


def draw_order(seed: int, draw: int) -> int:
    """The sort key of a group: a hash of seed and draw, as in `llm.data.corpus.hold_out`."""
    return _number(_digest(f"{seed}:{draw}"))
