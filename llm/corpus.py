"""Records on disk become indexed, encoded samples, once; later runs map the result from the cache.

The cache key hashes the files, the template, the tokenizer and the image geometry: whatever changes a token id
changes the key.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm.columns import Columns, Groups, Texts, numbers
from llm.config import DataConfig, Source
from llm.conversation import Conversation, ImageRef, Message
from llm.encode import IGNORED, Encoder, Sample
from llm.errors import DataError, Place, RecordError
from llm.fold import alike, fold, folded_lengths, share_key, split_turns
from llm.packing import Unit
from llm.readers import describe, image_folder, read
from llm.template import prove

VERSION = 5  # raise when the meaning of a cached file changes
AT_ONCE = 4096  # images checked between two looks at which are distinct
ENDS = ("offsets", "branch_offsets", "image_offsets")
NUMBERS: dict[str, type[np.generic]] = {
    "ids": np.int32,
    "labels": np.int32,
    "offsets": np.int64,
    "branches": np.int64,
    "branch_offsets": np.int64,
    "image_offsets": np.int64,
    "weights": np.float64,
    "targets": np.int64,
    "shares": np.int64,
    "keys": np.uint64,
}
CheckImage = Callable[[ImageRef], object]


@dataclass(frozen=True, slots=True)
class Corpus:
    """n encoded records; sample i is `ids[offsets[i]:offsets[i + 1]]` with its labels, images and branches."""

    ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    offsets: NDArray[np.int64]  # [n + 1]
    branches: NDArray[np.int64]  # branch starts, relative to their sample
    branch_offsets: NDArray[np.int64]  # [n + 1]
    weights: NDArray[np.float64]  # [n]
    targets: NDArray[np.int64]  # [n], supervised tokens
    shares: NDArray[np.int64]  # [n], equal where samples may share a prefix (see llm.fold.share_key)
    keys: NDArray[np.uint64]  # [n], of the first image or of the text; what is held out is drawn by it
    images: Groups
    places: Texts
    dropped: list[str]  # places of records left out as too long
    sources: list[str]  # one line a source: path, format and why
    key: str

    def __len__(self) -> int:
        return len(self.places)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Rows of every sample."""
        return np.diff(self.offsets)

    @property
    def image_counts(self) -> NDArray[np.int64]:
        """Images of every sample."""
        return np.diff(self.images.offsets)

    def sample(self, index: int) -> Sample:
        """One encoded record."""
        rows = slice(self.offsets[index], self.offsets[index + 1])
        branches = self.branches[self.branch_offsets[index] : self.branch_offsets[index + 1]]
        images = tuple(ImageRef(path) for path in self.images[index])
        return Sample(np.asarray(self.ids[rows]), np.asarray(self.labels[rows]), images, tuple(map(int, branches)))

    def digest(self) -> str:
        """A hash of all encoded records, their weights and keys, wherever their files lie."""
        found = hashlib.sha256()
        for array in (self.ids, self.labels, self.offsets, self.branches, self.weights, self.images.offsets, self.keys):
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()[:24]

    def folded(self, indices: Sequence[int]) -> list[Sample]:
        """The samples of one pack, those that share a prefix as one sample with branches."""
        groups = alike([int(self.shares[index]) for index in indices])
        return [fold([self.sample(indices[place]) for place in group]) for group in groups]

    def units(self, indices: NDArray[np.int64], budget: int) -> list[Unit]:
        """The samples of one step as what a pack holds whole: groups that share a prefix, and single samples.

        A group that would exceed `budget` rows is cut into several.
        """
        rows = (self.offsets[indices + 1] - self.offsets[indices]).tolist()
        pictures = (self.images.offsets[indices + 1] - self.images.offsets[indices]).tolist()
        units: list[Unit] = []
        for group in alike(self.shares[indices].tolist()):
            at = group[0]
            if len(group) == 1:
                units.append(Unit(indices[at : at + 1], rows[at], pictures[at]))
            else:
                units += self._units(indices[group], pictures[at], budget)
        return units

    def _units(self, members: NDArray[np.int64], pictures: int, budget: int) -> Iterator[Unit]:
        start = 0
        while start < len(members):
            lengths = folded_lengths(self.sample(index) for index in members[start:].tolist())
            rows, end = next(lengths), start + 1
            for more in lengths:
                if more > budget:
                    break
                rows, end = more, end + 1
            yield Unit(members[start:end], rows, pictures)
            start = end


def build_corpus(
    sources: tuple[Source, ...],
    data: DataConfig,
    encoder: Encoder,
    cache: Path,
    base: Path,
    check_image: CheckImage | None = None,
) -> Corpus:
    """Read, check and encode every record, or map the cached result.

    Raises RecordError on the first record that cannot be trained on, ImageError on the first bad image, DataError when
    nothing is left.
    """
    key = corpus_key(sources, data, encoder, base)
    folder = cache / key
    if not (folder / "corpus.json").exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = cache / f"{key}.{os.getpid()}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        _write(partial, sources, data, encoder, base, check_image)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    return _open(folder)


def corpus_key(sources: tuple[Source, ...], data: DataConfig, encoder: Encoder, base: Path) -> str:
    """What the encoded records depend on, as a hash."""
    rules = data.model_dump(include={"system", "turns", "max_length", "too_long", "check_images"})
    parts = [VERSION, [source.model_dump() for source in sources], rules, encoder.fingerprint()]
    parts += [_stamp(base / source.path) for source in sources]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _stamp(path: Path) -> list[list[str | int]]:
    """Name, size and modification time of a file or of every file in a folder; empty for a hub data set."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()]


def _write(
    folder: Path,
    sources: tuple[Source, ...],
    data: DataConfig,
    encoder: Encoder,
    base: Path,
    check_image: CheckImage | None,
) -> None:
    dropped: list[str] = []
    lines: list[str] = []
    final = folder.with_name(folder.name.rpartition(".")[0]).resolve()  # what the folder will be renamed to
    with Columns(folder) as columns:
        for name in ENDS:
            columns.numbers(name, np.zeros(1, np.int64))
        ends = dict.fromkeys(ENDS, 0)
        for source in sources:
            kind, reason = describe(source, base)
            lines.append(f"{source.path}: {kind} ({reason})")
            for conversation in _conversations(source, base, data.system):
                sample = encode_record(conversation, encoder, data.turns)
                pieces = _windows(sample, data.max_length) if conversation.is_plain else [sample]
                if len(pieces[0].ids) > data.max_length:
                    _too_long(conversation.place, len(sample.ids), data)
                    dropped.append(str(conversation.place))
                    continue
                key = _key(sample, source, base, conversation.place)
                for piece in pieces:
                    unpacked = _unpack_images(piece, folder, final)
                    _append(columns, ends, unpacked, share_key(unpacked, encoder.image_id))
                    columns.numbers("weights", np.array([source.weight], np.float64))
                    columns.numbers("keys", np.array([key], np.uint64))
                    columns.texts("places", [str(conversation.place)])
    if not ends["offsets"]:
        advice = f"All {len(dropped)} records were longer than data.max_length" if dropped else "The sources are empty"
        raise DataError(f"{', '.join(source.path for source in sources)}: no record to train on. {advice}")
    if check_image is not None:
        _check_images(Texts(folder, "images"), check_image, folder, final)
    document = {"dropped": dropped, "sources": lines}
    (folder / "corpus.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def _append(columns: Columns, ends: dict[str, int], sample: Sample, share: int) -> None:
    """One sample at the end of every column; `ends` counts rows, branches and images so far."""
    columns.numbers("ids", sample.ids.astype(np.int32))
    columns.numbers("labels", sample.labels.astype(np.int32))
    columns.numbers("branches", np.asarray(sample.branches, np.int64))
    columns.texts("images", (image.path for image in sample.images))
    for name, count in zip(ENDS, (len(sample.ids), len(sample.branches), len(sample.images)), strict=True):
        ends[name] += count
        columns.numbers(name, np.array([ends[name]], np.int64))
    columns.numbers("targets", np.array([(sample.labels != IGNORED).sum()], np.int64))
    columns.numbers("shares", np.array([share], np.int64))


def _key(sample: Sample, source: Source, base: Path, place: Place) -> int:
    """Equal for records that show the same first image, or the same text: a hash that no move of the files changes."""
    if not sample.images:
        return _hash64(sample.ids.tobytes())
    first = sample.images[0]
    return _hash64(first.data or os.path.relpath(first.path, image_folder(source, base, place)).encode())


def _conversations(source: Source, base: Path, system: str) -> Iterator[Conversation]:
    for conversation in read(source, base):
        yield with_prompt(conversation, system)


def with_prompt(conversation: Conversation, system: str) -> Conversation:
    """The conversation behind the recipe's system prompt, where it brings none of its own."""
    if system and not conversation.is_plain and conversation.messages[0].role != "system":
        return Conversation((Message("system", (system,)), *conversation.messages), conversation.place)
    return conversation


def encode_record(conversation: Conversation, encoder: Encoder, turns: str) -> Sample:
    """One record as training has it: its questions `together` or `apart`, the template proved on each."""
    asked = [conversation] if turns == "together" else split_turns(conversation)
    for question in asked:
        prove(encoder.template, question)
    return fold([encoder.encode(question) for question in asked])


def _windows(sample: Sample, length: int) -> list[Sample]:
    """Plain text, a book say, in consecutive windows; every target stands in exactly one. Records are never cut."""
    if sample.images:
        return [sample]
    starts = range(0, len(sample.ids), length)
    return [Sample(sample.ids[start : start + length], sample.labels[start : start + length]) for start in starts]


def _too_long(place: Place, length: int, data: DataConfig) -> None:
    if data.too_long == "error":
        raise RecordError(
            place,
            "length",
            f"{length} tokens, data.max_length is {data.max_length}",
            "Raise data.max_length, shorten the record, or set data.too_long: drop",
            "too-long",
        )


def _unpack_images(sample: Sample, folder: Path, final: Path) -> Sample:
    """Images that came inside a row are written beside the index, so that a sample names files only."""
    if not any(image.data for image in sample.images):
        return sample
    images = []
    for image in sample.images:
        if image.data:
            name = hashlib.sha256(image.data).hexdigest()
            (folder / name).write_bytes(image.data)
            images.append(ImageRef(str(final / name)))
        else:
            images.append(image)
    return Sample(sample.ids, sample.labels, tuple(images), sample.branches)


def _check_images(paths: Texts, check_image: CheckImage, folder: Path, final: Path) -> None:
    """Every distinct image once; those that are still to be renamed with `folder` are found where they are now."""
    seen: set[bytes] = set()

    def check(path: str) -> None:
        check_image(ImageRef(path.replace(str(final), str(folder))))

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), AT_ONCE):
            fresh = {hashlib.sha256(path.encode()).digest()[:16]: path for path in paths[start : start + AT_ONCE]}
            for _ in pool.map(check, [path for key, path in fresh.items() if key not in seen]):
                pass
            seen |= fresh.keys()


def _open(folder: Path) -> Corpus:
    document = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
    arrays: dict[str, Any] = {name: numbers(folder, name, dtype) for name, dtype in NUMBERS.items()}
    images = Groups(Texts(folder, "images"), arrays.pop("image_offsets"))
    return Corpus(**arrays, **document, images=images, places=Texts(folder, "places"), key=folder.name)


def hold_out(corpus: Corpus, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sample indices for training and for validation; records of one key stay together.

    The choice hashes key and seed: neither more records nor another folder moves a record to the other side.
    """
    if not share:
        return np.arange(len(corpus)), np.arange(0)
    drawn = np.fromiter((_hash64(f"{seed}:{key}".encode()) for key in corpus.keys.tolist()), np.uint64, len(corpus))
    held = drawn < np.uint64(int(share * 2**64))
    if not held.any():
        held[int(np.argmin(drawn))] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def _hash64(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
