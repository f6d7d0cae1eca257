"""Yes/no questions: POPE's JSON lines, and MME's folders and tables."""

import re
from hashlib import sha256
from pathlib import Path

from llm.errors import Place, RecordError
from llm.files.regular_files import SETTINGS, read_text
from llm.formats.conversation import ImageRef
from llm.formats.image_paths import SUFFIXES
from llm.records.record import Record, Row
from vlm.questions.file_rows import FileRows, Item
from vlm.questions.question import Question
from vlm.questions.row_reading import Context, RowForm, group_of, images_of, name_of, needed, word

_YES_NO = ("yes", "no")
_POPE_KINDS = ("random", "popular", "adversarial")


def _is_yes_no(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower().rstrip(".") in _YES_NO


def _truth(record: Record, name: str) -> str:
    value = needed(record, name).lower().rstrip(".")
    if value not in _YES_NO:
        raise record.error(name, f"{value[:40]!r} is neither yes nor no", "Write yes or no", "field-type")
    return value


def fits_pope(row: Row) -> bool:
    """Whether a row is POPE's: an image, a text and a label that is yes or no; or the hub's, with its three kinds."""
    lines = isinstance(row.get("image"), str) and isinstance(row.get("text"), str) and _is_yes_no(row.get("label"))
    return lines or (_is_of_pope(row) and isinstance(row.get("question"), str) and _is_yes_no(row.get("answer")))


def _is_of_pope(row: Row) -> bool:
    return row.get("category") in _POPE_KINDS


def read_pope(record: Record, context: Context) -> Question:
    """One line of POPE; the file's name says random, popular or adversarial."""
    images = images_of(record, context, "image")
    name = name_of(record, "question_id")
    kind = word(record, "category") or next((one for one in _POPE_KINDS if one in context.stem.lower()), "")
    return Question(
        id=f"{kind}-{name}" if kind else name,
        group=group_of(images, name),
        form="pope",
        text=needed(record, "text", "question"),
        images=images,
        answers=(_truth(record, "label" if "label" in record.row else "answer"),),
        category=kind,
        place=record.place,
    )


def fits_mme(row: Row) -> bool:
    """Whether a row is of MME's table: question, category, an image, and an answer that is yes or no."""
    named = {"question", "category"} <= set(row) and ("image" in row or "image_path" in row)
    return named and not _is_of_pope(row) and "A" not in row and _is_yes_no(row.get("answer"))


def read_mme(record: Record, context: Context) -> Question:
    """One question of MME. Two of the same category and image are one pair of acc+."""
    images = images_of(record, context, "image") or images_of(record, context, "image_path")
    category = needed(record, "category")
    name = word(record, "index") or f"{word(record, 'question_id', 'id')}-{record.place.id or record.place.line}"
    pair = word(record, "image_path", "question_id") or group_of(images, "") or _digest(images)
    return Question(
        id=name,
        group=f"{category}/{pair}",
        form="mme",
        text=needed(record, "question"),
        images=images,
        answers=(_truth(record, "answer"),),
        category=category,
        place=record.place,
    )


def _digest(images: tuple[ImageRef, ...]) -> str:
    """A name of images without a path: those of a table are in its rows, twice for each pair."""
    return sha256(b"".join(one.data for one in images)).hexdigest()[:16]


ROWS = (
    RowForm("pope", "image, text and a label that is yes or no", fits_pope, read_pope),
    RowForm("mme", "question, category, image and an answer that is yes or no", fits_mme, read_mme),
)

_FOLDERS = ("questions_answers_YN", "")
_LINE = re.compile(r"(.+?)\t+\s*(\S+)\s*")


def is_mme_folder(folder: Path) -> bool:
    """Whether a folder has MME's categories: folders of images with a text file for each."""
    return any(_text_files(one) for one in sorted(folder.iterdir()) if one.is_dir())


def _text_files(category: Path) -> list[Path]:
    for name in _FOLDERS:
        files = sorted((category / name).glob("*.txt"))
        if files and all("\t" in _start(file) for file in files[:3]):
            return files
    return []


def _start(file: Path) -> str:
    try:
        return read_text(file, SETTINGS, errors="replace")[:4096]
    except OSError:
        return ""


def mme_rows(folder: Path) -> FileRows:
    """The questions of MME's folders: `question<tab>Yes` a line of each text file, about the image of its name."""
    found = FileRows(folder)
    for category in sorted(one for one in folder.iterdir() if one.is_dir()):
        images = {one.stem: one for one in sorted(category.rglob("*")) if one.suffix.lower() in SUFFIXES}
        for file in _text_files(category):
            _read_text_file(found, category.name, file, images.get(file.stem))
    return found


def _read_text_file(found: FileRows, category: str, file: Path, image: Path | None) -> None:
    try:
        lines = read_text(file, SETTINGS, "utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        advice = "Save the file as UTF-8"
        found.lost.append(RecordError(Place(str(file)), "file", f"cannot be read: {error}", advice, "encoding"))
        return
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = Place(str(file), number)
        parts = _LINE.fullmatch(line)
        if parts is None:
            advice = "Write the question, a tab, and Yes or No"
            found.lost.append(RecordError(place, "line", "has no tab before an answer", advice, "field-missing"))
        elif image is None:
            advice = "Put the image of the same name into the folder of the category"
            found.lost.append(RecordError(place, "image", f"there is none named {file.stem}", advice, "image-missing"))
        else:
            path = str(image.relative_to(found.path))
            row = {"index": f"{category}/{file.stem}/{number}", "question": parts[1], "answer": parts[2]}
            found.items.append(Item(place, row | {"category": category, "image_path": path}))
