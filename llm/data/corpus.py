"""Encoded samples on disk: records are encoded once, later runs memory-map the cached result.

The cache key hashes files, template, tokenizer and image geometry: whatever changes a token id changes the key.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from llm.activity import Activity, activity, note
from llm.config.schema import DataConfig, Source
from llm.data.corpus_writer import CorpusWriter, EncodedRecord, encoded
from llm.data.memmap_columns import TextColumn, TextListColumn, read_numbers
from llm.data.packing import PackItem
from llm.data.prefix_sharing import group_by_key, shared_lengths
from llm.encoding.encoder import Encoder, Sample
from llm.formats.conversation import ImageRef, ImageShape
from llm.formats.hub_data import data_path
from llm.formats.readers import read
from llm.log import logger
from llm.rows.files import Report

VERSION = 7  # raise when the meaning of a cached file changes
NOTED = 1000  # records between two reports of how far reading is
AT_ONCE = 4096  # image paths that are checked together, each distinct one once
NUMBERS: dict[str, type[np.generic]] = {
    "ids": np.int32,
    "labels": np.int32,
    "offsets": np.int64,
    "branches": np.int64,
    "parents": np.int64,
    "branch_offsets": np.int64,
    "image_offsets": np.int64,
    "image_shapes": np.int64,
    "weights": np.float64,
    "targets": np.int64,
    "shares": np.int64,
    "grades": np.float64,
    "keys": np.uint64,
}
CheckImage = Callable[[ImageRef], object]


class RecordForm(Protocol):
    """How the rows of a source become encoded records: conversations, or what another stage trains on."""

    @property
    def name(self) -> str:
        """A part of the cache key; empty for conversations."""
        ...

    def records(
        self, source: Source, base: Path, warn: Report, encoder: Encoder, data: DataConfig
    ) -> Iterator[EncodedRecord]:
        """The records of a source, encoded. `warn` gets lines about what is left out or not read."""
        ...


class Conversations:
    """Records of supervised fine-tuning."""

    name = ""

    def records(
        self, source: Source, base: Path, warn: Report, encoder: Encoder, data: DataConfig
    ) -> Iterator[EncodedRecord]:
        """Each conversation with its answers as targets."""
        return (encoded(conversation, encoder, data) for conversation in read(source, base, warn))


CONVERSATIONS = Conversations()


@dataclass(frozen=True, slots=True)
class Corpus:
    """n encoded samples in columns: the ids of sample i are `ids[offsets[i]:offsets[i + 1]]`, labels likewise.

    The fields of arrays are the files of the cache folder.
    """

    ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    offsets: NDArray[np.int64]  # [n + 1]
    branches: NDArray[np.int64]  # branch starts, relative to their sample
    parents: NDArray[np.int64]  # what each branch continues, as in Sample
    branch_offsets: NDArray[np.int64]  # [n + 1]
    weights: NDArray[np.float64]  # [n]
    targets: NDArray[np.int64]  # [n], supervised tokens
    shares: NDArray[np.int64]  # [n], llm.data.prefix_sharing.prefix_key
    grades: NDArray[np.float64]  # [n], margins or labels of `stage: prefer`; else 0
    keys: NDArray[np.uint64]  # [n], hash of the first image or of the text, by which validation records are drawn
    images: TextListColumn
    image_shapes: NDArray[np.int64]  # 4 numbers an image, those of ImageShape; empty where images have none
    places: TextColumn
    dropped: list[str]  # places of records left out as too long
    sources: list[str]  # one line a source: path, format and how it was recognised
    warnings: list[str]  # what was left out or not read, repeated when the corpus comes from its cache
    key: str

    def __len__(self) -> int:
        return len(self.places)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[n], tokens of every sample."""
        return np.diff(self.offsets)

    @property
    def image_counts(self) -> NDArray[np.int64]:
        """[n], images of every sample."""
        return np.diff(self.images.offsets)

    @property
    def image_costs(self) -> NDArray[np.int64]:
        """[n], what the images of every sample take of `train.pack_images`: 1 each, or the views of a tiled one."""
        if not len(self.image_shapes):
            return self.image_counts
        views = self.image_shapes.reshape(-1, 4)[:, 1]
        return np.diff(np.concatenate([[0], np.cumsum(views)])[self.images.offsets])

    @property
    def image_rows(self) -> int:
        """Tokens of all images that have shapes."""
        return int(self.image_shapes[::4].sum())

    def images_of(self, index: int) -> tuple[ImageRef, ...]:
        """The images of sample `index`."""
        paths = self.images[index]
        if not len(self.image_shapes):
            return tuple(ImageRef(path) for path in paths)
        numbers = self.image_shapes.reshape(-1, 4)[self.images.offsets[index] : self.images.offsets[index + 1]].tolist()
        return tuple(ImageRef(path, shape=ImageShape(*one)) for path, one in zip(paths, numbers, strict=True))

    def every_image(self) -> Iterator[ImageRef]:
        """The images of all samples, repeated ones included."""
        return (image for index in range(len(self)) for image in self.images_of(index))

    def sample(self, index: int) -> Sample:
        """Sample `index`."""
        tokens = slice(self.offsets[index], self.offsets[index + 1])
        nodes = slice(self.branch_offsets[index], self.branch_offsets[index + 1])
        branches, parents = tuple(map(int, self.branches[nodes])), tuple(map(int, self.parents[nodes]))
        parents = parents if any(parents) else ()
        return Sample(self.ids[tokens], self.labels[tokens], self.images_of(index), branches, parents)

    def digest(self) -> str:
        """A hash of all samples, weights and keys; the same wherever their files are."""
        found = hashlib.sha256()
        for array in (self.ids, self.labels, self.offsets, self.branches, self.weights, self.images.offsets, self.keys):
            found.update(np.ascontiguousarray(array).data)
        if self.parents.any():  # so that corpora without them have the digest that older versions gave them
            found.update(np.ascontiguousarray(self.parents).data)
        if self.grades.any():
            found.update(np.ascontiguousarray(self.grades).data)
        return found.hexdigest()[:24]

    def pack_items(self, indices: NDArray[np.int64], budget: int) -> list[PackItem]:
        """Samples grouped by prefix key, as they are packed together; groups over `budget` tokens are cut."""
        tokens = (self.offsets[indices + 1] - self.offsets[indices]).tolist()
        images = self.image_costs[indices].tolist()
        items: list[PackItem] = []
        for group in group_by_key(self.shares[indices].tolist()):
            at = group[0]
            if len(group) == 1:
                items.append(PackItem(indices[at : at + 1], tokens[at], images[at]))
            else:
                items += self._cut_to_budget(indices[group], images[at], budget)
        return items

    def _cut_to_budget(self, members: NDArray[np.int64], images: int, budget: int) -> Iterator[PackItem]:
        """Samples of one prefix key, with the same `images`, in items as long as the budget allows."""
        start = 0
        while start < len(members):
            lengths = shared_lengths(self.sample(index) for index in members[start:].tolist())
            tokens, end = next(lengths), start + 1
            for more in lengths:
                if more > budget:
                    break
                tokens, end = more, end + 1
            yield PackItem(members[start:end], tokens, images)
            start = end


def build_corpus(
    sources: tuple[Source, ...],
    data: DataConfig,
    encoder: Encoder,
    cache: Path,
    base: Path,
    check_image: CheckImage | None = None,
    form: RecordForm = CONVERSATIONS,
) -> Corpus:
    """The corpus of a recipe's sources: mapped from `cache` or, where it is not there yet, read, encoded and checked.

    Relative paths start at `base`. `form` reads and encodes the records. `check_image` raises ImageError for an image
    that is refused. Raises RecordError at the first record that cannot be trained on, ImageError at the first bad
    image, DataError when no record is left.
    """
    key = corpus_key(sources, data, encoder, base, form.name)
    folder = cache / key
    if (folder / "corpus.json").exists():
        corpus = open_corpus(folder)
        for line in corpus.warnings:
            logger.warning("%s", line)
        return corpus
    cache.mkdir(parents=True, exist_ok=True)
    partial = cache / f"{key}.{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    _write(partial, sources, data, encoder, base, check_image, form)
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    return open_corpus(folder)


def corpus_key(sources: tuple[Source, ...], data: DataConfig, encoder: Encoder, base: Path, form: str = "") -> str:
    """A hash of what the encoded records depend on; `form` is the name of their form."""
    rules = data.model_dump(include={"system", "turns", "max_length", "too_long", "check_images"})
    parts = [VERSION, [source.model_dump() for source in sources], rules, encoder.fingerprint()]
    parts += [_stamp(data_path(source.path, base, source.split)) for source in sources]
    parts += [form] if form else []
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
    form: RecordForm,
) -> None:
    final = folder.with_name(folder.name.rpartition(".")[0]).resolve()  # its name after the rename
    with CorpusWriter(folder, data, encoder, base, final) as writer:
        for source in sources:
            writer.open(source)
            with activity(f"reading and encoding {source.path}") as doing:
                records = form.records(source, base, writer.warn, encoder, data)
                for number, record in enumerate(records, 1):
                    writer.append(source, record)
                    if number % NOTED == 0:
                        note(doing, f"{number:,} records")
    if check_image is not None:
        with activity("checking images") as doing:
            _check_images(TextColumn(folder, "images"), check_image, folder, final, doing)
    writer.seal()


def _check_images(paths: TextColumn, check_image: CheckImage, folder: Path, final: Path, doing: Activity) -> None:
    """Check every distinct image once. Paths in the `final` folder are read from `folder`, before it is renamed."""
    seen: set[bytes] = set()

    def check(path: str) -> None:
        check_image(ImageRef(path.replace(str(final), str(folder))))

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), AT_ONCE):
            fresh = {hashlib.sha256(path.encode()).digest()[:16]: path for path in paths[start : start + AT_ONCE]}
            for _ in pool.map(check, [path for key, path in fresh.items() if key not in seen]):
                pass
            seen |= fresh.keys()
            note(doing, f"{len(seen):,} of at most {len(paths):,}")


def open_corpus(folder: Path) -> Corpus:
    """The corpus that a `CorpusWriter` sealed in a folder, memory-mapped."""
    document = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
    arrays: dict[str, Any] = {name: read_numbers(folder, name, dtype) for name, dtype in NUMBERS.items()}
    images = TextListColumn(TextColumn(folder, "images"), arrays.pop("image_offsets"))
    return Corpus(**arrays, **document, images=images, places=TextColumn(folder, "places"), key=folder.name)
