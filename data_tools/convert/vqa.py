"""Tables of questions about images: VQAv2's two files, and easy-VQA's folder."""

from collections.abc import Iterator

from data_tools.convert.record import Id, InputRecord, TableFiles, id_of, image_conversation, table
from data_tools.quickstart.easy_vqa import SEED, QuestionRow, by_image, shuffled
from llm.errors import ConfigError, RecordError
from llm.records.record import Record
from llm.rows.files import read_members, read_rows


def read_vqav2(tables: TableFiles) -> Iterator[InputRecord]:
    """Questions `{"data_subtype", "questions": [{"question_id", "image_id", "question"}]}` with their annotations.

    One record an image, in the order of the questions; the answer is `multiple_choice_answer`, the most common of
    the ten. Holds the texts of questions and answers in memory.
    """
    if tables.annotations is None:
        raise ConfigError(f"{tables.path}: vqav2 needs the answers. Add --annotations v2_mscoco_..._annotations.json")
    answers = {
        id_of(row, "question_id"): row.text("multiple_choice_answer")
        for row in table(tables.annotations, "annotations", "vqav2", tables.images)
    }
    first: dict[Id, Record] = {}
    turns: dict[Id, list[tuple[str, str]]] = {}
    for row in table(tables.path, "questions", "vqav2", tables.images):
        image, question = id_of(row, "image_id"), id_of(row, "question_id")
        if question not in answers:
            raise row.error("question_id", f"{question} has no annotation", "Name the annotations of these questions")
        first.setdefault(image, row)
        turns.setdefault(image, []).append((row.text("question"), answers[question]))
    subset = _subset(tables)
    for image, asked in turns.items():
        yield InputRecord(image_conversation(first[image], _file_name(first[image], subset, image), asked), image)


def _subset(tables: TableFiles) -> str:
    """The `data_subtype` of the questions, such as train2014, by which images are named."""
    for name, place, value in read_members(tables.path):
        if name == "data_subtype" and isinstance(value, str):
            return value
        last = place
    advice = 'Write "data_subtype": "train2014", as in the published files: image names contain it'
    raise RecordError(last, "data_subtype", "is missing", advice)


def _file_name(row: Record, subset: str, image: Id) -> str:
    if not isinstance(image, int):
        raise row.error("image_id", "is text, not a number", "VQAv2's images are named by number")
    return f"COCO_{subset}_{image:012d}.jpg"


def read_easy_vqa(tables: TableFiles) -> Iterator[InputRecord]:
    """A folder of `questions.json`, rows `[question, answer, image]`, and `images/`: one record an image.

    The turns are shuffled as in the quickstart's data: in the published order open questions come first.
    """
    places = dict[int, Record]()
    questions = []
    for place, row in read_rows(tables.path / "questions.json"):
        match row:
            case [str(text), str(answer), int(image)]:
                questions.append(QuestionRow(text, answer, image))
                places.setdefault(image, Record(place, {}, "easy_vqa", tables.images))
            case _:
                raise RecordError(place, "record", "is not [question, answer, image]", "Correct the row")
    for image, group in by_image(questions).items():
        turns = [(question.text, question.answer) for question in shuffled(group, image, SEED)]
        yield InputRecord(image_conversation(places[image], f"{image}.png", turns), image)
