"""Questions with short texts as answers: VQAv2, TextVQA, VizWiz, GQA, ChartQA and DocVQA."""

from collections.abc import Mapping

from llm.formats.conversation import ImageRef
from llm.records.record import Record, Row
from vlm.questions.file_rows import FileRows, Item
from vlm.questions.question import Question
from vlm.questions.row_reading import (
    Context,
    RowForm,
    group_of,
    image_named,
    images_of,
    name_of,
    needed,
    texts_of,
    word,
)

QUESTIONS, ANNOTATIONS = "questions", "annotations"


def is_vqa_questions(file: FileRows) -> bool:
    """Whether a file is the questions of VQAv2, whose answers are in a file of their own."""
    items = file.members(QUESTIONS)
    return bool(items) and {"question", "question_id", "image_id"} <= set(items[0].row)


def is_vqa_annotations(file: FileRows) -> bool:
    """Whether a file is the answers of VQAv2."""
    items = file.members(ANNOTATIONS)
    return bool(items) and {"question_id", "answers"} <= set(items[0].row)


def joined_vqa(questions: FileRows, annotations: FileRows | None) -> FileRows:
    """Questions with the answers of the same question_id; without annotations their answers are hidden."""
    answers: Mapping[str, Row] = {
        str(item.row.get("question_id")): item.row for item in (annotations.members(ANNOTATIONS) if annotations else ())
    }
    lost = [*questions.lost, *(annotations.lost if annotations else ())]
    joined = FileRows(questions.path, about=questions.about, lost=lost)
    subset = questions.about.get("data_subtype")
    for item in questions.members(QUESTIONS):
        row = dict(item.row) | {"data_subtype": subset if isinstance(subset, str) else ""}
        if annotations is not None:
            given = answers.get(str(row.get("question_id")), {})
            row |= {name: given[name] for name in ("answers", "answer_type", "question_type") if name in given}
            row.setdefault("answers", None)  # which reading reports
        joined.items.append(Item(item.place, row))
    return joined


def read_vqa(record: Record, context: Context) -> Question:
    """A question of VQAv2 by the number of its image in COCO, or any row with question, image and a list of answers."""
    name = name_of(record, "question_id", "id")
    if "image_id" in record.row and "image" not in record.row:
        number, subset = needed(record, "image_id"), word(record, "data_subtype") or "val2014"
        padded = number.zfill(12)
        names = [
            f"COCO_{subset}_{padded}.jpg",
            f"{subset}/COCO_{subset}_{padded}.jpg",
            f"{padded}.jpg",
            f"{number}.jpg",
        ]
        images: tuple[ImageRef, ...] = (image_named(record, context.images, names, "image_id"),)
    else:
        images = images_of(record, context, "image")
    hidden = "answers" not in record.row
    return Question(
        id=name,
        group=group_of(images, name),
        form="vqa",
        text=needed(record, "question"),
        images=images,
        answers=() if hidden else texts_of(record, "answers"),
        category=word(record, "answer_type", "category"),
        place=record.place,
    )


def fits_vqa(row: Row) -> bool:
    """Whether a row has a question, an image and a list of answers."""
    listed = isinstance(row.get("answers"), list)
    return isinstance(row.get("question"), str) and "image" in row and listed


def fits_textvqa(row: Row) -> bool:
    """Whether a row is TextVQA's: an image_id that is the name of a file."""
    named = isinstance(row.get("image_id"), str) and isinstance(row.get("question"), str)
    return named and not ({"imageId", "questionId"} & set(row))


def read_textvqa(record: Record, context: Context) -> Question:
    """A question of TextVQA; the test split has no answers."""
    image = needed(record, "image_id")
    return _asked(
        record, "textvqa", [f"{image}.jpg", f"{image}.png", image], context, hidden="answers" not in record.row
    )


def fits_vizwiz(row: Row) -> bool:
    """Whether a row is VizWiz's: an image, a question, and whether it can be answered."""
    answers = row.get("answers")
    first = answers[0] if isinstance(answers, list) and answers else None
    marked = "answerable" in row or (isinstance(first, dict) and "answer_confidence" in first)
    return isinstance(row.get("image"), str) and isinstance(row.get("question"), str) and marked


def read_vizwiz(record: Record, context: Context) -> Question:
    """A question of VizWiz; `unanswerable` is one of its answers."""
    images = images_of(record, context, "image")
    name = name_of(record, "question_id", "image")
    return Question(
        id=name,
        group=group_of(images, name),
        form="vizwiz",
        text=needed(record, "question"),
        images=images,
        answers=texts_of(record, "answers") if "answers" in record.row else (),
        category=word(record, "answer_type"),
        place=record.place,
    )


def fits_gqa(row: Row) -> bool:
    """Whether a row is GQA's: question, answer and imageId."""
    return isinstance(row.get("question"), str) and "imageId" in row


def read_gqa(record: Record, context: Context) -> Question:
    """A question of GQA, by its structural type."""
    image, types = needed(record, "imageId"), record.row.get("types")
    kind = types.get("structural") if isinstance(types, dict) else ""
    found = [f"{image}.jpg", f"{image}.png"]
    return _asked(
        record, "gqa", found, context, kind if isinstance(kind, str) else "", "answer", "answer" not in record.row
    )


def fits_chartqa(row: Row) -> bool:
    """Whether a row is ChartQA's: query, label and an image or its name."""
    return isinstance(row.get("query"), str) and "label" in row and ("imgname" in row or "image" in row)


def read_chartqa(record: Record, context: Context) -> Question:
    """A question of ChartQA; `human` or `augmented` by its column or the file's name."""
    if "imgname" in record.row:
        image = needed(record, "imgname")
        images: tuple[ImageRef, ...] = (image_named(record, context.images, [image, f"png/{image}"], "imgname"),)
    else:
        images = images_of(record, context, "image")
    kind = next((one for one in ("human", "augmented") if one in context.stem.lower()), "")
    name = name_of(record, "id")
    return Question(
        id=f"{kind}-{name}" if kind else name,
        group=group_of(images, name),
        form="chartqa",
        text=needed(record, "query"),
        images=images,
        answers=texts_of(record, "label"),
        category=_MADE_BY.get(word(record, "human_or_machine"), kind),
        place=record.place,
    )


_MADE_BY = {"0": "human", "1": "augmented"}  # the hub's numbers


def fits_docvqa(row: Row) -> bool:
    """Whether a row is DocVQA's or InfographicVQA's: questionId, question and an image."""
    named = "image" in row or "image_local_name" in row
    return isinstance(row.get("question"), str) and "questionId" in row and named


def read_docvqa(record: Record, context: Context) -> Question:
    """A question of DocVQA; `image` is documents/NAME.png, or `image_local_name` the name."""
    if isinstance(record.row.get("image_local_name"), str):
        images = images_of(record, context, "image_local_name")
    else:
        images = images_of(record, context, "image")
    name = name_of(record, "questionId")
    kinds = record.row.get("question_types")
    kind = kinds[0] if isinstance(kinds, list) and kinds and isinstance(kinds[0], str) else ""
    return Question(
        id=name,
        group=group_of(images, name),
        form="docvqa",
        text=needed(record, "question"),
        images=images,
        answers=texts_of(record, "answers") if "answers" in record.row else (),
        category=kind,
        place=record.place,
    )


def _asked(
    record: Record,
    form: str,
    names: list[str],
    context: Context,
    category: str = "",
    field: str = "answers",
    hidden: bool = False,
) -> Question:
    """A question about an image that is named without its suffix."""
    images = (image_named(record, context.images, names, "image"),)
    name = name_of(record, "question_id", "id")
    return Question(
        id=name,
        group=group_of(images, name),
        form=form,
        text=needed(record, "question"),
        images=images,
        answers=() if hidden else texts_of(record, field),
        category=category,
        place=record.place,
    )


ROWS = (
    RowForm("docvqa", "questionId, question and image", fits_docvqa, read_docvqa),
    RowForm("gqa", "question, answer and imageId", fits_gqa, read_gqa),
    RowForm("chartqa", "query, label and an image or imgname", fits_chartqa, read_chartqa),
    RowForm("vizwiz", "image, question and answers with a confidence", fits_vizwiz, read_vizwiz),
    RowForm("textvqa", "question, answers and an image_id that is a name", fits_textvqa, read_textvqa),
    RowForm("vqa", "question, image and a list of answers", fits_vqa, read_vqa),
)
