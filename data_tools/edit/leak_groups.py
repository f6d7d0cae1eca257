"""Which rows of a data set must stay together: those that share a picture, an id or their words, also through others.

Each row is a node; what two rows share joins them; a group is a connected component.
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
"""What a row may share, `picture`, `id` or `words`, and a hash of it."""


@dataclass(frozen=True, slots=True)
class RecordKeys:
    """What ties a row to others, the hash that its side is drawn by, and whether it names picture files."""

    keys: tuple[SharedKey, ...]
    draw: int
    files: bool = False


@dataclass(frozen=True, slots=True)
class LeakGroups:
    """`of[row]` is the row's group; a group's draw is the least of its rows' hashes.

    `links` counts what joined rows; `files` says whether any names a picture file.
    """

    of: list[int]
    sizes: list[int]
    draws: list[int]
    links: dict[str, int]
    files: bool


def record_keys(source: Source, base: Path, by_content: bool) -> Iterator[RecordKeys]:
    """The keys of every row of a source. Raises what reading it raises, ImageError for a picture that is not there."""
    known: dict[str, ImageHashes] = {}
    for record in source_records(source, base):
        messages = READERS[record.format].read(record)
        images = tuple(_images(messages))
        pictures = [_picture(image, record, by_content, known) for image in images]
        words = _digest(_said(messages, pictures) if messages else _raw(record))
        keys = [*(("picture", picture.key) for picture in pictures), ("words", words), *_id(record)]
        files = any(image.path for image in images)
        yield RecordKeys(tuple(keys), _number(pictures[0].name if pictures else words), files)


def _id(record: Record) -> Iterator[SharedKey]:
    name = record.row.get("id")
    if isinstance(name, str | int) and not isinstance(name, bool) and name != "":
        yield "id", _digest(str(name))


def group(rows: Iterable[RecordKeys]) -> LeakGroups:
    """The connected components, numbered by their first row."""
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
    """One picture: a hash that is equal for the same one, and one that no move of the data changes."""

    key: bytes
    name: bytes


def _picture(image: ImageRef, record: Record, by_content: bool, known: dict[str, ImageHashes]) -> ImageHashes:
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


def _said(messages: Sequence[Message], pictures: Sequence[ImageHashes]) -> str:
    """All that training would see of a row, as one text."""
    left = iter(pictures)
    turns = [
        [turn.role, turn.loss, [part if isinstance(part, str) else [next(left).key.hex()] for part in turn.parts]]
        for turn in messages
    ]
    return json.dumps(turns)


def _raw(record: Record) -> str:
    return repr(sorted(record.row.items()))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _number(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big")


def drawn(seed: int, draw: int) -> int:
    """Where a group stands in the order of a seed: as `llm.data.corpus.hold_out`, from nothing but seed and hash."""
    return _number(_digest(f"{seed}:{draw}"))
