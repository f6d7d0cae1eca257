"""Referring expressions (RefCOCO, RefCOCO+, RefCOCOg) as JSON lines, and captions with references."""

from collections.abc import Sequence

from llm.errors import ConfigError, RecordError
from llm.records.record import Record, Row
from vlm.questions.file_rows import FileRows, Item
from vlm.questions.question import Question
from vlm.questions.row_reading import Context, RowForm, group_of, images_of, name_of, needed, texts_of, word
from vlm.scores.boxes import Box, BoxConvention
from vlm.vision.images import check_header

_EXPRESSIONS = ("sent", "expression", "caption", "text", "ref")
_REFERENCES = ("references", "captions", "caption")


def fits_region(row: Row) -> bool:
    """Whether a row has an image, a box of four numbers and the expression for it."""
    named = any(isinstance(row.get(name), str) for name in _EXPRESSIONS)
    return "image" in row and named and _numbers(row.get("bbox")) is not None


def _numbers(value: object) -> Box | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < 1e7 for one in value):
        return None
    left, top, right, bottom = (float(one) for one in value)
    return left, top, right, bottom


def read_region(record: Record, context: Context) -> Question:
    """One expression and its box. The image's size is in the row, or in the image's header."""
    images = images_of(record, context, "image")
    name = name_of(record, "question_id", "id", "ref_id")
    numbers = _numbers(record.take("bbox"))
    if numbers is None:
        raise record.error("bbox", "is not a list of four numbers", "Write the four numbers of the box", "field-type")
    size = _size(record.row)
    if size == (0, 0):
        size = check_header(images[0]) if images else (0, 0)
    box = context.boxes.box(numbers, size)
    if not (box[2] > box[0] and box[3] > box[1]):
        advice = "Correct it, or name the convention of the file's boxes"
        raise record.error("bbox", f"{list(numbers)} has no area", advice, "field-type")
    return Question(
        id=f"{context.stem}-{name}",
        group=group_of(images, name),
        form="refcoco",
        text=needed(record, *_EXPRESSIONS),
        images=images,
        category=context.stem,
        box=box,
        size=size,
        place=record.place,
    )


def _size(row: Row) -> tuple[int, int]:
    width, height = row.get("width"), row.get("height")
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    return 0, 0


def convention_of(items: Sequence[Item], file: str) -> BoxConvention:
    """How the boxes of a file are written, from those that only one convention allows. Raises ConfigError if several.

    Corners have right > left and bottom > top; a width and height fit into the image from the left top corner.
    """
    rows = [(numbers, _size(item.row)) for item in items if (numbers := _numbers(item.row.get("bbox")))]
    if rows and max(max(numbers) for numbers, _ in rows) <= 1:
        bounds, slack = [(1.0, 1.0)] * len(rows), 0.01
        scale = "unit"
    else:
        bounds = [(float(size[0] or 1e9), float(size[1] or 1e9)) for _, size in rows]
        scale, slack = "pixels", 1.0
    corners = all(one[2] > one[0] and one[3] > one[1] for one, _ in rows)
    sizes = all(
        one[0] + one[2] <= width + slack and one[1] + one[3] <= height + slack
        for (one, _), (width, height) in zip(rows, bounds, strict=True)
    )
    sized = all(size != (0, 0) for _, size in rows) or scale == "unit"
    if corners and (not sizes or not sized):
        return BoxConvention("unit" if scale == "unit" else "pixels", "corners")
    if sizes and not corners:
        return BoxConvention("unit" if scale == "unit" else "pixels", "size")
    found = "fit both corners and width and height" if corners else "fit neither corners nor width and height"
    raise ConfigError(
        f"{file}: bbox: the boxes {found}. Name their convention: corners, or left, top, width and height"
    )


def fits_caption(row: Row) -> bool:
    """Whether a row has an image and its references; or a file name and `sentences`, as Karpathy's splits have."""
    if _sentences(row):
        return True
    if "image" not in row and "file_name" not in row:
        return False
    value = next((row[name] for name in _REFERENCES if name in row), None)
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def _sentences(row: Row) -> list[str]:
    """The sentences of Karpathy's files: `{"filename", "sentences": [{"raw": text}, ...], "split"}`."""
    listed = row.get("sentences")
    if not isinstance(row.get("filename"), str) or not isinstance(listed, list):
        return []
    return [raw for one in listed if isinstance(one, dict) and isinstance(raw := one.get("raw"), str)]


def read_caption(record: Record, context: Context) -> Question:
    """An image and its references."""
    images = images_of(record, context, "image", "file_name", "filename")
    if not images:
        raise record.error("image", "is missing", "Complete the row or remove it", "field-missing")
    name = name_of(record, "image_id", "imgid", "id")
    references: Sequence[str] = _sentences(record.row)
    if not references:
        references = texts_of(record, next((one for one in _REFERENCES if one in record.row), "references"))
    if not any(one.strip() for one in references):
        raise record.error("references", "are empty", "Write at least one caption", "answer-missing")
    return Question(
        id=name,
        group=group_of(images, name),
        form="captions",
        text="",
        images=images,
        answers=tuple(references),
        category=word(record, "category", "domain"),
        split=word(record, "split"),
        place=record.place,
    )


def is_coco_captions(file: FileRows) -> bool:
    """Whether a file is COCO's: images, and annotations that are captions."""
    annotations = file.members("annotations")
    return bool(file.members("images")) and bool(annotations) and "caption" in annotations[0].row


def coco_caption_rows(file: FileRows) -> FileRows:
    """A row for each image with its captions; a caption of an unknown image and an image without captions are lost."""
    joined = FileRows(file.path, about=file.about, lost=list(file.lost))
    captions: dict[str, list[object]] = {}
    images = {str(item.row.get("id")) for item in file.members("images")}
    for item in file.members("annotations"):
        number = str(item.row.get("image_id"))
        captions.setdefault(number, []).append(item.row.get("caption"))
        if number not in images:
            found, advice = f"{number} is no image of the file", "Complete the list of images"
            joined.lost.append(RecordError(item.place, "image_id", found, advice, "field-type"))
    for item in file.members("images"):
        number = str(item.row.get("id"))
        if number in captions:
            row = {"image": item.row.get("file_name"), "image_id": number, "references": captions[number]}
            row |= {"domain": item.row["domain"]} if "domain" in item.row else {}  # NoCaps
            joined.items.append(Item(item.place, row))
        else:
            advice = "Add its captions or remove the image"
            joined.lost.append(RecordError(item.place, "caption", "there is none", advice, "answer-missing"))
    return joined


def is_textcaps(file: FileRows) -> bool:
    """Whether a file is TextCaps', with a row for each caption that repeats all references of its image."""
    items = file.members("data")
    return bool(items) and {"image_id", "reference_strs"} <= set(items[0].row)


def textcaps_rows(file: FileRows) -> FileRows:
    """A row for each image of TextCaps with its references."""
    joined = FileRows(file.path, about=file.about, lost=list(file.lost))
    known: set[str] = set()
    for item in file.members("data"):
        name = str(item.row.get("image_id"))
        if name not in known:
            known.add(name)
            row = {"image": f"{name}.jpg", "image_id": name, "references": item.row.get("reference_strs")}
            joined.items.append(Item(item.place, row))
    return joined


ROWS = (
    RowForm("refcoco", "image, bbox and the expression for it", fits_region, read_region),
    RowForm("captions", "image and its captions or references", fits_caption, read_caption),
)
