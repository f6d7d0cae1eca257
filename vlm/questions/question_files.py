"""Benchmark files become sets of questions: the form is found from what is in a file, or named."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from llm.errors import ConfigError, DataError, ImageError, RecordError
from llm.files.regular_files import exists
from vlm.questions.examination_files import SHOTS, headless_rows, is_headless, shots_file, subject_of, tested_files
from vlm.questions.file_rows import FileRows, read_file
from vlm.questions.letter_rows import has_options, image_pool, is_examination, read_letter_row
from vlm.questions.open_rows import ROWS as OPEN
from vlm.questions.open_rows import is_vqa_annotations, is_vqa_questions, joined_vqa
from vlm.questions.own_rows import is_own_format, own_questions
from vlm.questions.question import Question, QuestionSet
from vlm.questions.region_rows import ROWS as REGIONS
from vlm.questions.region_rows import coco_caption_rows, convention_of, is_coco_captions, is_textcaps, textcaps_rows
from vlm.questions.row_reading import Context, RowForm, record_of
from vlm.questions.science_qa import chosen_split, is_splits_file
from vlm.questions.yes_no_rows import ROWS as YES_NO
from vlm.questions.yes_no_rows import is_mme_folder, mme_rows
from vlm.scores.boxes import BoxConvention

LETTERS = RowForm("letters", "question and options A and B, or a list of them", has_options, read_letter_row)
EXAMINATION = RowForm("mmlu", "question and options, without images and index", is_examination, read_letter_row)
ROW_FORMS = {one.name: one for one in (*YES_NO, EXAMINATION, LETTERS, *REGIONS[:1], *OPEN, *REGIONS[1:])}
FORM_NAMES = (*ROW_FORMS, "exact")
_LOOK = 20  # rows from which the form is found

OnBadRow = Literal["stop", "skip"]


@dataclass(slots=True)
class _Collected:
    """What has been read of one form so far."""

    reason: str
    questions: list[Question] = field(default_factory=list)
    lost: list[RecordError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Wanted:
    form: str
    images: str
    split: str
    truth_boxes: BoxConvention | None


def read_questions(
    paths: Sequence[Path],
    form: str = "auto",
    images: str = "",
    split: str = "",
    truth_boxes: BoxConvention | None = None,
    on_bad_row: OnBadRow = "stop",
) -> tuple[QuestionSet, ...]:
    """The questions of benchmark files and folders, one set a form, in the order of the files.

    `images` is the folder of image paths, the file's own when empty; `split` keeps the questions of one split;
    `truth_boxes` is how the boxes of a RefCOCO file are written. With `stop`, a row that cannot be read is an error
    that counts all such rows; with `skip`, they are in `QuestionSet.lost`. Raises ConfigError, DataError, RecordError.
    """
    if form not in (*FORM_NAMES, "auto"):
        raise ConfigError(f"form {form} is unknown. Known are auto, {', '.join(FORM_NAMES)}")
    wanted = _Wanted(form, images, split, truth_boxes)
    found: dict[str, _Collected] = {}
    for path, name, reason, questions in _read_all(_listed(paths), wanted):
        into = found.setdefault(name, _Collected(f"{path}: {reason}"))
        _collect(into, path, questions)
    if not found:
        raise DataError(f"{paths[0] if paths else 'files'}: no questions. Name the questions' file too")
    return tuple(_finished(name, one, wanted, on_bad_row) for name, one in found.items())


def _listed(paths: Sequence[Path]) -> list[Path]:
    """The files and folders to read; of a folder with MMLU's layout its tested files."""
    listed: list[Path] = []
    for path in paths:
        if not exists(path):
            raise ConfigError(f"{path}: no such file or folder. Correct the path")
        if not path.is_dir():
            listed += [] if is_splits_file(path) else [path]
        elif files := tested_files(path):
            listed += files
        elif is_mme_folder(path):
            listed.append(path)
        else:
            found = "a folder that has neither MME's categories nor dev and test files of MMLU"
            raise DataError(f"{path}: {found}. Name the file of questions in it")
    return listed


_Read = tuple[Path, str, str, Iterator[Question | RecordError | str]]
"""(file, form, reason, its questions, errors and notes)."""


def _read_all(paths: list[Path], wanted: _Wanted) -> Iterator[_Read]:
    loaded = [(path, _load(path)) for path in paths]
    annotations = [file for _, file in loaded if is_vqa_annotations(file)]
    for path, file in loaded:
        if any(file is one for one in annotations):
            continue
        if is_vqa_questions(file):
            yield path, "vqa", "questions of VQAv2", _vqa(file, annotations, wanted)
            continue
        if is_coco_captions(file):
            joined = coco_caption_rows(file)
            yield path, "captions", "images and captions of COCO", _rows(joined, ROW_FORMS["captions"], wanted)
            continue
        if is_textcaps(file):
            yield path, "captions", "captions of TextCaps", _rows(textcaps_rows(file), ROW_FORMS["captions"], wanted)
            continue
        name, reason = (wanted.form, "named") if wanted.form != "auto" else _detect(file, path)
        if name == "exact":
            yield path, name, reason, _own(path, wanted)
        elif name == "mmlu":
            yield path, name, reason, _examination(path, file, wanted)
        else:
            yield path, name, reason, _rows(file, ROW_FORMS[name], wanted)


def _load(path: Path) -> FileRows:
    if path.is_dir():
        return mme_rows(path)
    return headless_rows(path) if is_headless(path) else read_file(path)


def _detect(file: FileRows, path: Path) -> tuple[str, str]:
    """(form, reason) by the first rows. Raises DataError if no form fits all of them."""
    rows = [item.row for item in file.items[:_LOOK]]
    if not rows:
        if file.lost:
            raise file.lost[0]
        raise DataError(f"{path}: has no rows. Download or write it again")
    many = "its only row has" if len(rows) == 1 else f"its first {len(rows)} rows have"
    for one in ROW_FORMS.values():
        if all(one.fits(row) for row in rows):
            return one.name, f"{many} {one.shape}"
    mixed = [one.name for one in ROW_FORMS.values() if any(one.fits(row) for row in rows)]
    if mixed:
        found = f"{len(rows)} rows of which only some have the fields of {' or '.join(mixed)}"
        raise DataError(f"{path}: {found}. Correct the rows, or name the form of the file")
    return "exact", "records of a conversation format"


def _own(path: Path, wanted: _Wanted) -> Iterator[Question | RecordError]:
    try:
        yield from own_questions(path, wanted.images)
    except DataError as error:
        if is_own_format(error):
            raise
        known = ", ".join(FORM_NAMES)
        raise DataError(
            f"{path}: rows of no known benchmark or format. Name the form if it is one of {known}"
        ) from error


def _context(file: FileRows, form: str, wanted: _Wanted) -> Context:
    folder = Path(wanted.images).expanduser() if wanted.images else _folder(file.path)
    context = Context(file.path, os.path.abspath(folder))
    if form == "refcoco":
        boxes = wanted.truth_boxes or convention_of(file.items, str(file.path))
        return replace(context, boxes=boxes)
    if form in ("letters", "mmlu"):
        return replace(context, pool=image_pool(file.items, context))
    return context


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _rows(file: FileRows, form: RowForm, wanted: _Wanted) -> Iterator[Question | RecordError | str]:
    yield from file.lost
    context = _context(file, form.name, wanted)
    splits = chosen_split(file, wanted.split) if form.name == "letters" else None
    if splits:
        yield splits.note
    for item in file.items:
        if splits and item.member not in splits.ids:
            continue
        try:
            yield form.read(record_of(item, form.name, context), context)
        except RecordError as error:
            yield error
        except ImageError as error:
            yield RecordError(item.place, "image", error.found, error.advice, error.code)


def _vqa(file: FileRows, annotations: list[FileRows], wanted: _Wanted) -> Iterator[Question | RecordError | str]:
    """VQAv2's questions with the answers among the files, or in the file of annotations beside them."""
    ids = {str(item.row.get("question_id")) for item in file.members("questions")}
    answers = next((one for one in annotations if _shares(one, ids)), None)
    if answers is None:
        beside = file.path.with_name(file.path.name.replace("OpenEnded_", "").replace("questions", "annotations"))
        if beside != file.path and beside.is_file():
            answers = read_file(beside)
    if answers is None:
        yield f"{file.path}: answers are hidden, as no file of annotations is named or beside it"
    yield from _rows(joined_vqa(file, answers), ROW_FORMS["vqa"], wanted)


def _shares(annotations: FileRows, ids: set[str]) -> bool:
    return any(str(item.row.get("question_id")) in ids for item in annotations.members("annotations"))


def _examination(path: Path, file: FileRows, wanted: _Wanted) -> Iterator[Question | RecordError | str]:
    """Questions with the answered ones of the `dev` file beside theirs, by subject."""
    shots: dict[str, list[Question]] = {}
    beside = shots_file(path)
    if beside is None:
        yield f"{path}: asked without examples, as it has no dev file beside it"
    else:
        for one in _rows(_load(beside), EXAMINATION, wanted):
            if isinstance(one, Question):
                shots.setdefault(_subject(one, beside), []).append(one)
            elif isinstance(one, RecordError):
                yield one
    for found in _rows(file, EXAMINATION, wanted):
        if not isinstance(found, Question):
            yield found
            continue
        subject = _subject(found, path)
        examples = tuple(shots.get(subject, ())[:SHOTS])
        name = f"{subject}-{found.id}"
        yield replace(found, id=name, group=name, category=subject, shots=examples)


def _subject(question: Question, path: Path) -> str:
    return question.category or subject_of(path)


def _collect(into: _Collected, path: Path, questions: Iterator[Question | RecordError | str]) -> None:
    known = {question.id for question in into.questions}
    stem = path.name.partition(".")[0]
    for one in questions:
        if isinstance(one, str):
            into.notes.append(one)
            continue
        if isinstance(one, RecordError):
            into.lost.append(one)
            continue
        name = one.id
        if name in known and into.questions[0].place.file != one.place.file:
            name = f"{stem}/{name}"
        if name in known:
            advice = "Give every question an id of its own"
            into.lost.append(RecordError(one.place, "id", f"{name} is given twice", advice, "field-type"))
            continue
        known.add(name)
        into.questions.append(one if name == one.id else replace(one, id=name))


def _finished(name: str, found: _Collected, wanted: _Wanted, on_bad_row: OnBadRow) -> QuestionSet:
    count = len(found.lost)
    if found.lost and (on_bad_row == "stop" or not found.questions):
        first = found.lost[0]
        if count == 1 and found.questions:
            raise first
        text = f"{first.found}; {count:,} of {count + len(found.questions):,} rows cannot be read"
        raise RecordError(first.place, first.field, text, first.advice, first.code)
    questions = _of_split(found.questions, wanted.split)
    if not questions:
        there = ", ".join(dict.fromkeys(one.split for one in found.questions if one.split)) or "none"
        raise DataError(f"{found.reason}; no question is of split {wanted.split}. There are: {there}")
    if name == "letters":
        questions = _regrouped(questions)
    return QuestionSet(name, found.reason, tuple(questions), tuple(found.lost), tuple(found.notes))


def _of_split(questions: list[Question], split: str) -> list[Question]:
    if not split or not any(one.split for one in questions):
        return questions
    return [one for one in questions if one.split == split]


def _regrouped(questions: list[Question]) -> list[Question]:
    """Circular passes ask the same; questions of a group that do not are groups of their own."""
    texts: dict[str, set[str]] = {}
    for one in questions:
        texts.setdefault(one.group, set()).add(one.text)
    return [one if len(texts[one.group]) == 1 else replace(one, group=one.id) for one in questions]
