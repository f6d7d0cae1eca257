"""`eyegraft data split`: a data file in training and validation, or more parts, that share no image, id or text."""

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from data_tools.edit.record_keys import record_keys
from data_tools.rows.image_root import recipe_image_folder
from data_tools.rows.row_output import check_output, output_suffix, row_writer
from llm.config.schema import Source
from llm.data.group_shares import assign
from llm.data.leak_groups import draw_order, group
from llm.errors import ConfigError
from llm.formats.readers import source_format
from llm.rows.files import data_files, read_rows


@dataclass(frozen=True, slots=True)
class SplitFile:
    """One file of a split: its records, their share of all, and the requested share."""

    path: Path
    rows: int
    share: float
    requested: float


@dataclass(frozen=True, slots=True)
class SplitResult:
    """What was written: the files, and the groups of records that stay together.

    `largest` is the size of the largest group; `links` and `images` as in `LeakGroups` and `MixResult`.
    """

    format: str
    sides: tuple[SplitFile, ...]
    groups: int
    largest: int
    links: dict[str, int]
    images: str


def split(
    source: Source, out: Path, shares: Mapping[str, float], seed: int = 0, by_content: bool = False
) -> SplitResult:
    """Write the records of each part, unchanged and in order, to `out/NAME` with the suffix of the source.

    Records that share an image (by path, or by bytes with `by_content`), an id or all their words stay together, also
    transitively. Groups are drawn by hash, as training draws its validation part: a record stays on its side when the
    data is moved and, except near the boundary, when records are added. Raises what reading raises, ConfigError when a
    part would overwrite the data, DataError when a part would be empty.
    """
    file = Path(source.path)
    files = data_files(file, source.split)
    paths = {name: out / f"{name}{output_suffix(files)}" for name in shares}
    _check(file, files, paths)
    kind, _ = source_format(source, Path())
    found = group(record_keys(source, Path(), by_content))
    images = recipe_image_folder(source, out) if found.files else ""
    order = sorted(range(len(found.sizes)), key=lambda index: (draw_order(seed, found.draws[index]), index))
    side_of = dict(zip(order, assign([found.sizes[index] for index in order], shares), strict=True))
    sides = [side_of[index] for index in found.of]
    with ExitStack() as stack:
        writers = {name: stack.enter_context(row_writer(path, files)) for name, path in paths.items()}
        for side, (place, row) in zip(sides, read_rows(file, source.split), strict=True):
            writers[side](place, row)
    counts = Counter(sides)
    written = tuple(SplitFile(path, counts[n], counts[n] / len(sides), shares[n]) for n, path in paths.items())
    return SplitResult(kind, written, len(found.sizes), max(found.sizes), found.links, images)


def _check(file: Path, files: list[Path], paths: Mapping[str, Path]) -> None:
    for path in paths.values():
        check_output(path, files)
        if file.is_dir() and path.resolve().is_relative_to(file.resolve()):
            raise ConfigError(f"{path}: is inside the folder that is split, and would be read with it. Name another")
