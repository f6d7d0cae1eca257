"""The keys of records that `eyegraft data split` keeps together: their images and videos, id and words."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llm.config.schema import Source
from llm.data.leak_groups import RecordKeys, SharedKey
from llm.errors import ImageError
from llm.files.regular_files import open_regular
from llm.formats.conversation import ImageRef, Message, VideoRef
from llm.formats.pairs.pair_reading import PAIRED
from llm.formats.readers import READERS, source_records
from llm.formats.reading import ReadingReport
from llm.records.record import Record
from llm.records.unread_fields import unread_fields


def record_keys(source: Source, base: Path, by_content: bool) -> Iterator[RecordKeys]:
    """The keys of every record of a source. Raises what reading raises, ImageError for a missing image file.

    Fields that the format does not read are not compared; the log names them at the end.
    """
    report = ReadingReport(source.path)
    known: dict[str, ImageHashes] = {}
    for record in source_records(source, base):
        messages = READERS[record.format].read(record)
        images = tuple(_media(messages))
        report.add_unread(record, unread_fields(record, (image.path for image in images)))
        hashes = [_hash_image(image, record, by_content, known) for image in images]
        # Pairs of one prompt stay together: an answer that is rejected here must not be chosen on the other side.
        compared = messages[:-1] if record.format == PAIRED else messages
        words = _digest(_words(compared, hashes) if compared else _raw(record))
        keys = [*(("image", image.key) for image in hashes), ("words", words), *_id(record)]
        files = any(image.path for image in images)
        yield RecordKeys(tuple(keys), _number(hashes[0].name if hashes else words), files)
    report.log()


def _id(record: Record) -> Iterator[SharedKey]:
    name = record.row.get("id")
    if isinstance(name, str | int) and not isinstance(name, bool) and name != "":
        yield "id", _digest(str(name))


def _media(messages: Sequence[Message]) -> Iterator[ImageRef | VideoRef]:
    return (part for message in messages for part in message.parts if not isinstance(part, str))


@dataclass(frozen=True, slots=True)
class ImageHashes:
    """Two hashes of an image: `key` is equal for the same image, `name` does not depend on where the data is."""

    key: bytes
    name: bytes


def _hash_image(
    image: ImageRef | VideoRef, record: Record, by_content: bool, known: dict[str, ImageHashes]
) -> ImageHashes:
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
