"""COCO's tables: captions, and RefCOCO's sentences, each of which describes one box of an image."""

from collections.abc import Iterator
from pathlib import Path

from data_tools.convert.record import Id, InputRecord, TableFiles, as_record, id_of, image_conversation, table
from llm.errors import ConfigError, DataError
from llm.records.record import Record, kind
from llm.rows.files import read_rows

PICKLES = frozenset({".p", ".pkl", ".pickle"})
POINT = "Please provide the bounding box coordinate of the region this sentence describes: {}"  # LLaVA 1.5's words


def read_coco_captions(tables: TableFiles) -> Iterator[InputRecord]:
    """`{"images": [{"id", "file_name"}], "annotations": [{"id", "image_id", "caption"}]}`: one record a caption.

    Holds the names of all images in memory. Captions are stripped: many of COCO's end in a line break.
    """
    names = {id_of(row, "id"): row.text("file_name") for row in _table(tables.path, "images", tables)}
    for row in _table(tables.path, "annotations", tables):
        image = id_of(row, "image_id")
        if image not in names:
            raise row.error("image_id", f"{image} is not in the table of images", "Correct or remove the annotation")
        caption = row.text("caption").strip()
        yield InputRecord(image_conversation(row, names[image], [("", caption)]), id_of(row, "id"))


def read_refcoco(tables: TableFiles) -> Iterator[InputRecord]:
    """Refs in JSON, `[{"ref_id", "ann_id", "image_id", "split", "sentences": [{"sent"}]}]`, and COCO instances.

    One record a ref of the split, one turn a sentence. The answer is `[x0, y0, x1, y1]` as fractions of the image's
    width and height with two decimals. The image's file is named by the instances; a ref's own `file_name` is no file.
    """
    if tables.path.suffix.lower() in PICKLES:
        advice = "Pickles can run code and are never loaded. Write the list of refs as JSON"
        raise ConfigError(f"{tables.path}: a pickle. {advice}")
    if tables.annotations is None:
        raise ConfigError(f"{tables.path}: refcoco needs the boxes. Add --annotations instances.json")
    images = {id_of(row, "id"): row for row in _table(tables.annotations, "images", tables)}
    boxes = {id_of(row, "id"): row for row in _table(tables.annotations, "annotations", tables)}
    splits: dict[str, int] = {}
    for place, value in read_rows(tables.path):
        row = as_record(place, value, "refcoco", tables.images)
        split = row.text("split")
        splits[split] = splits.get(split, 0) + 1
        if split == tables.split:
            yield _described_boxes(row, images, boxes)
    if tables.split not in splits:
        raise DataError(f"{tables.path}: no ref of split {tables.split}. Choose --split of {', '.join(splits)}")


def _described_boxes(row: Record, images: dict[Id, Record], boxes: dict[Id, Record]) -> InputRecord:
    box, image = _lookup(row, "ann_id", boxes), _lookup(row, "image_id", images)
    answer = _fractions(box, image)
    turns = [(POINT.format(sentence.text("sent")), answer) for sentence in row.parts("sentences")]
    return InputRecord(image_conversation(row, image.text("file_name"), turns), id_of(row, "ref_id"))


def _lookup(row: Record, name: str, table: dict[Id, Record]) -> Record:
    wanted = id_of(row, name)
    if wanted not in table:
        raise row.error(name, f"{wanted} is not in the instances", "Give the instances of the same data set")
    return table[wanted]


def _fractions(box: Record, image: Record) -> str:
    """COCO's [x, y, width, height] in pixels as [x0, y0, x1, y1] in fractions of the image, clipped to it."""
    sides = [_number(image, "width", image.row.get("width")), _number(image, "height", image.row.get("height"))]
    value = box.row.get("bbox")
    if not isinstance(value, list) or len(value) != 4:
        raise box.error("bbox", "is not [x, y, width, height]", "Correct the instances")
    x, y, width, height = (_number(box, "bbox", item) for item in value)
    if min(sides) <= 0:
        raise image.error("width", "and height must be above 0", "Correct the instances")
    corners = (x / sides[0], y / sides[1], (x + width) / sides[0], (y + height) / sides[1])
    return "[" + ", ".join(f"{min(max(value, 0.0), 1.0):.2f}" for value in corners) + "]"


def _number(row: Record, name: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise row.error(name, f"is {kind(value)}, not a number", "Correct the instances")


def _table(path: Path, name: str, tables: TableFiles) -> Iterator[Record]:
    return table(path, name, "coco", tables.images)
