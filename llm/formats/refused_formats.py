"""Forms of data that are recognised and cannot be trained on, each with what to do."""

import re
from collections.abc import Callable

from llm.records.record import Row

Refusal = tuple[str, str]
"""What was found, and what to do."""

_BOXES = "Write questions and answers about the image, with boxes as text in fractions of width and height"
_ASKED = "Write questions and answers about it, as messages beside `videos`"
_ANSWER = "Write the answer too, for example as messages that end with one of the assistant"
_YOLO_LINE = re.compile(r"\d{1,5}(?:[ \t]+-?\d+(?:\.\d+)?(?:[eE]-?\d+)?){4,}\s*")
_LOOKED_AT = 4096  # characters of a text


def _keys(*names: str) -> Callable[[Row], bool]:
    return lambda row: set(names) <= set(row)


def _coco_file(row: Row) -> bool:
    return {"images", "annotations"} <= set(row) and isinstance(row["annotations"], list)


def _label_studio(row: Row) -> bool:
    return isinstance(row.get("data"), dict) and bool({"annotations", "predictions", "completions"} & set(row))


def _via(row: Row) -> bool:
    first = next(iter(row.values()), None)
    return "_via_img_metadata" in row or any(
        isinstance(one, dict) and "regions" in one and "filename" in one for one in (row, first)
    )


def _boxes(row: Row) -> bool:
    objects = row.get("objects")
    inside = objects if isinstance(objects, dict) else objects[0] if isinstance(objects, list) and objects else {}
    return any(isinstance(one, dict) and _BOX_KEYS & set(one) for one in (row, inside))


_BOX_KEYS = frozenset({"bbox", "bboxes", "boxes", "segmentation", "polygon", "polygons", "keypoints"})
_AUDIO = frozenset({"audio", "audios", "audio_path", "audio_file", "audio_filepath", "wav", "speech"})
_VIDEO = frozenset({"video", "videos", "video_path", "video_file"})

REFUSED: tuple[tuple[Callable[[Row], bool], str, str], ...] = (
    (_coco_file, "the annotations of COCO in one object", "Captions: `eyegraft data convert --format coco`. " + _BOXES),
    (_keys("image_id", "category_id"), "an annotation of COCO: a box with a category", _BOXES),
    (_keys("image_id", "caption"), "a caption of COCO without its image", "Use `eyegraft data convert --format coco`"),
    (_label_studio, "a task of Label Studio", "Export it as CSV or JSON-MIN and name the columns with `columns`"),
    (_keys("shapes", "imagePath"), "boxes of LabelMe", _BOXES),
    (_via, "regions of VIA, the VGG image annotator", _BOXES),
    (lambda row: bool(_AUDIO & set(row)), "audio", "Only text and images can be trained on: transcribe it"),
    (lambda row: bool(_VIDEO & set(row)), "a video without a question", _ASKED),
    (_keys("completions", "labels"), "steps with labels, TRL's stepwise supervision", "Write one completion a record"),
    (_keys("paragraphs"), "an article of SQuAD", "Write one record a question, with context, question and answers"),
    (_keys("anchor", "positive"), "pairs of an embedding model", "Write questions and answers"),
    (_boxes, "boxes without a question and an answer", _BOXES),
    (_keys("image", "label"), "an image with a class", "Name the columns: `columns: {image: image, output: label}`"),
    (_keys("role", "content"), "a single turn", "Write all turns of a conversation in one record, under `messages`"),
    (_keys("from", "value"), "a single turn", "Write all turns of a conversation in one record, under `conversations`"),
    (lambda row: set(row) in ({"prompt"}, {"query"}, {"instruction"}), "a question without an answer", _ANSWER),
)
"""(whether a row is of the form, what it is, what to do)."""


def refused_format(row: Row) -> Refusal | None:
    """What a row is that cannot be trained on, and what to do; None for a row of no form that is known."""
    for fits, found, advice in REFUSED:
        if fits(row):
            return f"the record is {found}, which cannot be trained on", advice
    return None


def is_yolo(text: str) -> bool:
    """Whether a text is a label file of YOLO: lines of a class number and four or more coordinates."""
    lines = text[:_LOOKED_AT].strip().splitlines()
    lines = lines[:-1] if len(text) > _LOOKED_AT else lines
    return bool(lines) and all(_YOLO_LINE.fullmatch(line) for line in lines)
