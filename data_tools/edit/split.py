"""Split a data file into training and validation, or more sides, that share neither a picture nor a row."""

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from data_tools.edit.leak_groups import drawn, group, record_keys
from data_tools.edit.split_sizes import assign
from data_tools.rows.image_root import recipe_image_folder
from data_tools.rows.row_output import check_output, output_suffix, row_writer
from llm.config.schema import Source
from llm.errors import ConfigError
from llm.formats.readers import source_format
from llm.formats.row_files import data_files, read_rows


@dataclass(frozen=True, slots=True)
class SplitFile:
    """One file of a split: its rows, their share and the share that was asked for."""

    path: Path
    rows: int
    share: float
    asked: float


@dataclass(frozen=True, slots=True)
class SplitResult:
    """What was written; how rows hung together; the folder to name for the pictures, empty where none is needed."""

    format: str
    sides: tuple[SplitFile, ...]
    groups: int
    largest: int
    links: dict[str, int]
    images: str


def split(
    source: Source, out: Path, shares: Mapping[str, float], seed: int = 0, by_content: bool = False
) -> SplitResult:
    """Write each side's rows, as they are and in their order, to `out/NAME` with the file's own suffix.

    Rows that share a picture (by path, or by its bytes with `by_content`), an id or all their words stay together, also
    through others. Which groups a side gets is drawn by hash, like training's own validation part: neither another
    folder nor, but for a few at the edge, more rows move a row to the other side. Raises what reading raises,
    ConfigError where a side would be written over the data, DataError where a side would be empty.
    """
    file = Path(source.path)
    files = data_files(file)
    paths = {name: out / f"{name}{output_suffix(files)}" for name in shares}
    _check(file, files, paths)
    kind, _ = source_format(source, Path())
    found = group(record_keys(source, Path(), by_content))
    images = recipe_image_folder(source, out) if found.files else ""
    order = sorted(range(len(found.sizes)), key=lambda index: (drawn(seed, found.draws[index]), index))
    side_of = dict(zip(order, assign([found.sizes[index] for index in order], shares), strict=True))
    sides = [side_of[index] for index in found.of]
    with ExitStack() as stack:
        writers = {name: stack.enter_context(row_writer(path, files)) for name, path in paths.items()}
        for side, (place, row) in zip(sides, read_rows(file), strict=True):
            writers[side](place, row)
    counts = Counter(sides)
    written = tuple(SplitFile(path, counts[n], counts[n] / len(sides), shares[n]) for n, path in paths.items())
    return SplitResult(kind, written, len(found.sizes), max(found.sizes), found.links, images)


def _check(file: Path, files: list[Path], paths: Mapping[str, Path]) -> None:
    for path in paths.values():
        check_output(path, files)
        if file.is_dir() and path.resolve().is_relative_to(file.resolve()):
            raise ConfigError(f"{path}: lies in the folder that is split, and would be read with it. Name another")
