"""What a look at the data has seen, as HTML."""

import base64
from collections.abc import Callable
from typing import Any

from data_tools.check.findings import CODES, Finding
from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.words import text
from demo.job_pages.train.data_look import LookAnswer
from demo.job_pages.train.words import LOOK
from demo.pages.parts.check_session import FindingCard
from demo.pages.parts.finding_cards import cards
from demo.visible_paths import hide_folders
from llm.errors import Place
from llm.formats.conversation import ImageRef
from llm.i18n.translate import Language, translated_error
from vlm.service.store.rows import StoredFile

JOINT: dict[Language, str] = {"en": " ", "zh": "，"}  # between what there is and the verdict on it
UNKNOWN_FORMAT = "format-unknown"  # its own advice is for recipes: the page has no field for formats and columns
ERRORS = {"images": "images_failed", "empty": "empty_file"}


def archive_mistake(answer: LookAnswer, lang: Language) -> str:
    """What is wrong with the archive of images; empty where nothing is."""
    return translated_error(hide_folders(answer.error), lang) if answer.place == "images" else ""


def look_view(answer: LookAnswer | None, file: StoredFile, lang: Language) -> Markup:
    """A line while the look runs, then a summary and the findings by code."""
    if answer is None:
        return _line("waiting", lang)
    if answer.state == "unpacking":
        return _line("unpacking", lang)
    if not answer.done:
        return _line("running", lang, counted("record", answer.rows, lang))
    visible = _visible(file)
    if answer.error:
        key = ERRORS.get(answer.place, "failed")
        return tag("p", text(LOOK, key, lang, translated_error(visible(answer.error), lang)), class_="notice")
    return joined([_summary(answer, lang), *(_code(code, answer, visible, lang) for code in _ordered(answer))])


def counted(key: str, number: int, lang: Language) -> str:
    """`1 record`, `2 records`."""
    return text(LOOK, key, lang) if number == 1 else text(LOOK, f"{key}s", lang, number)


def _line(key: str, lang: Language, *values: object) -> Markup:
    return tag("p", text(LOOK, key, lang, *values), class_="quiet busy")


def _summary(answer: LookAnswer, lang: Language) -> Markup:
    parts = [counted("record", answer.rows, lang)]
    parts += [counted("image", answer.images, lang)] if answer.images else []
    parts += [counted("answer", answer.answers, lang)] if answer.answers > answer.rows else []
    if answer.cjk:
        parts.append(text(LOOK, "han_share" if answer.han else "chinese_share", lang, round(100 * answer.cjk)))
    counts = " · ".join(parts)
    said = text(LOOK, "some_bad", lang, answer.bad_rows) if answer.bad_rows else text(LOOK, "all_good", lang)
    cut = tag("p", text(LOOK, "cut", lang), class_="quiet") if answer.cut else None
    line = tag("p", tag("b", counts), JOINT[lang], said, class_="verdict bad" if answer.bad_rows else "verdict")
    return joined([line, cut])


def _ordered(answer: LookAnswer) -> list[str]:
    """The codes, errors first."""
    known = [code for code in answer.counts if code in CODES]
    return sorted(known, key=lambda code: CODES[code].level)


def _code(code: str, answer: LookAnswer, visible: Callable[[str], str], lang: Language) -> Markup:
    title = CODES[code].title_zh if lang == "zh" else CODES[code].title
    head = text(LOOK, "findings", lang, answer.counts[code], title)
    shown = [_card(one) for one in answer.cards if one["finding"]["code"] == code]
    rename = tag("p", text(LOOK, "rename", lang), class_="hint") if code == UNKNOWN_FORMAT else None
    body = joined([rename, Markup(cards(shown, visible, lang))])
    return tag("details", tag("summary", head), body, class_=f"finding {CODES[code].level}", id=f"finding-{code}")


def _card(one: dict[str, Any]) -> FindingCard:
    found = one["finding"]
    place = Place(found["file"], found["line"], found["id"])
    finding = Finding(found["code"], place, found["row"], found["field"], found["found"], found["advice"])
    images = tuple(ImageRef(data=base64.b64decode(data)) for data in one["images"])
    return FindingCard(finding, one["record"], images)


def _visible(file: StoredFile) -> Callable[[str], str]:
    """Messages name the file as its owner does."""
    return lambda message: hide_folders(message).replace(file.path, file.filename or file.id)
