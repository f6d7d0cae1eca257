"""`eyegraft data mix`: data files of one format mixed by weight and shuffled, with a seed."""

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from data_tools.rows.image_root import common_root, image_files, rebase_images
from data_tools.rows.row_output import check_output, row_writer
from llm.config.schema import Source
from llm.data.bin_packing import Indices
from llm.data.memmap_columns import ColumnWriter, TextColumn
from llm.data.packing import epoch_order
from llm.errors import ConfigError, DataError, Place, RecordError, RunError
from llm.formats.readers import image_folder, source_format, source_records
from llm.records.record import kind
from llm.rows.files import data_files

_BYTES = "bytes in base64"  # the only key of an object that stands for bytes in the temporary file


@dataclass(frozen=True, slots=True)
class MixedSource:
    """A source, how many records it has, and how many were written."""

    path: str
    weight: float
    rows: int
    written: int


@dataclass(frozen=True, slots=True)
class MixResult:
    """The format and the sources of a mix; `images` is the image folder that a recipe must name, empty if none."""

    format: str
    parts: tuple[MixedSource, ...]
    images: str


def read_weight(written: str) -> tuple[str, float]:
    """Parse `PATH=WEIGHT`, or a path with weight 1. ConfigError for a weight that is not above 0."""
    path, found, value = written.rpartition("=")
    if not found or Path(written).exists():
        return written, 1.0
    try:
        weight = float(value)
    except ValueError:
        raise ConfigError(f"{written}: {value!r} is not a weight. Write PATH=WEIGHT, such as chat.jsonl=0.5") from None
    if not 0 < weight < math.inf:
        raise ConfigError(f"{written}: the weight is not above 0. Leave the file out, or write for example {path}=0.5")
    return path, weight


def mix(sources: Sequence[Source], out: Path, seed: int = 0, size: int = 0) -> MixResult:
    """Write the records of all sources to `out`, shuffled, each as often as its source's weight says.

    Without `size` a record is written floor(weight) times, and once more with the probability of the fraction, as in
    an epoch of a recipe with these weights. With it, `size` records are written, in the proportion of the weights.
    Records are unchanged except for image paths if the image folders differ. Raises what reading raises, ConfigError
    for sources of several formats or records that `out` cannot hold, DataError when no record is drawn.
    """
    files = [file for source in sources for file in data_files(Path(source.path), source.split)]
    check_output(out, files)
    name = _one_format(sources)
    folders = _folders(sources)
    root = common_root(folders, out.parent)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent)
    except OSError as error:
        raise RunError(f"{out}: {error.strerror}. Choose a writable place") from error
    with temporary as folder:
        counts, has_files = _store(Path(folder), sources, root if len(folders) > 1 else "")
        weights = [source.weight for source in sources]
        order = sized_order(counts, weights, size, seed) if size else weighted_order(counts, weights, seed)
        if not len(order):
            raise DataError(f"{out}: no record was drawn at these weights. Raise them, or give --size")
        rows = TextColumn(Path(folder), "rows")
        with row_writer(out, files) as write:
            for index in order.tolist():
                write(*_unpacked(rows[index]))
    parts = _parts(sources, counts, order)
    return MixResult(name, parts, _image_folder(folders, root, out) if has_files else "")


def weighted_order(counts: Sequence[int], weights: Sequence[float], seed: int) -> Indices:
    """Indices into the concatenated sources, in the order of a recipe's first epoch."""
    return epoch_order(np.repeat(np.array(weights, np.float64), counts), seed, 0)


def sized_order(counts: Sequence[int], weights: Sequence[float], size: int, seed: int) -> Indices:
    """`size` indices into the concatenated sources, by weight; counts of one source's records differ by at most 1."""
    random = np.random.default_rng(seed)
    drawn, start = list[Indices](), 0
    for count, share in zip(counts, _shares(weights, size), strict=True):
        whole, rest = divmod(share, count)
        drawn += [np.tile(np.arange(count), whole) + start, random.permutation(count)[:rest] + start]
        start += count
    return random.permutation(np.concatenate(drawn))


def _shares(weights: Sequence[float], size: int) -> list[int]:
    """`size` divided by weight; the remainder goes to the largest fractions (Hare's method)."""
    exact = [size * weight / sum(weights) for weight in weights]
    shares = [math.floor(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda index: shares[index] - exact[index])
    for index in by_remainder[: size - sum(shares)]:
        shares[index] += 1
    return shares


def _one_format(sources: Sequence[Source]) -> str:
    formats = {source.path: source_format(source, Path())[0] for source in sources}
    first, name = next(iter(formats.items()))
    for path, other in formats.items():
        if other != name:
            advice = f"A file has one format. Convert first, for example eyegraft data convert {path} OUT --to {name}"
            raise ConfigError(f"{path} is read as {other}, {first} as {name}. {advice}")
    return name


def _folders(sources: Sequence[Source]) -> list[str]:
    """The distinct image folders of all files as absolute paths."""
    files = ((source, file) for source in sources for file in data_files(Path(source.path), source.split))
    return list(dict.fromkeys(image_folder(source, Path(), Place(str(file))) for source, file in files))


def _store(folder: Path, sources: Sequence[Source], root: str) -> tuple[list[int], bool]:
    """Write all records to a temporary file for random access, with paths relative to `root` if one is given.

    Returns the number of records of each source, and whether any names an image file.
    """
    counts, has_files = [0] * len(sources), False
    with ColumnWriter(folder) as columns:
        for number, source in enumerate(sources):
            for record in source_records(source, Path()):
                has_files = has_files or bool(image_files(record))
                columns.add_texts("rows", [_packed(record.place, rebase_images(record, root) if root else record.row)])
                counts[number] += 1
    return counts, has_files


def _packed(place: Place, row: object) -> str:
    def encode(value: object) -> dict[str, str]:
        if isinstance(value, bytes):
            return {_BYTES: base64.b64encode(value).decode()}
        advice = "Convert the file first: eyegraft data convert"
        raise RecordError(place, "record", f"holds {kind(value)}, which no format has", advice)

    return json.dumps([place.file, place.line, place.id, row], default=encode)


def _unpacked(text: str) -> tuple[Place, object]:
    file, line, name, row = json.loads(text, object_hook=_decode)
    return Place(file, line, name), row


def _decode(value: dict[str, object]) -> object:
    encoded = value.get(_BYTES)
    return base64.b64decode(encoded) if isinstance(encoded, str) and len(value) == 1 else value


def _parts(sources: Sequence[Source], counts: Sequence[int], order: Indices) -> tuple[MixedSource, ...]:
    ends = np.cumsum(counts)
    written = np.bincount(np.searchsorted(ends, order, side="right"), minlength=len(ends)).tolist()
    return tuple(
        MixedSource(source.path, source.weight, count, number)
        for source, count, number in zip(sources, counts, written, strict=True)
    )


def _image_folder(folders: Sequence[str], root: str, out: Path) -> str:
    """The folder that a recipe must name as `images` for `out`; empty if it is the folder of `out`."""
    folder = root if len(folders) > 1 else folders[0]
    return "" if Path(folder) == Path(out.parent).absolute() else folder
