"""What is logged once about the records of a source."""

import logging

import pytest

from llm.errors import Place
from llm.formats.conversation import Conversation, ImageRef, Message
from llm.formats.reading_notes import ReadingNotes


def conversation(line: int, answer: str, *images: ImageRef) -> Conversation:
    return Conversation((Message("user", (*images, "Who?")), Message("assistant", (answer,))), Place("a.json", line))


def test_notes_have_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    notes = ReadingNotes()
    found = ImageRef("/data/img/a.jpg", written="img\\A.JPG")
    notes.add(conversation(1, "I am Iris, {{x}} {NAME}.", ImageRef("/data/img/a.jpg")))
    notes.add(conversation(2, "I am {{NAME}}.", found, found))
    notes.add(conversation(3, "By {{ author }}.", found))
    with caplog.at_level(logging.WARNING, "eyegraft"):
        notes.log("a.json")
    assert [record.getMessage() for record in caplog.records] == [
        "a.json: image paths written otherwise than their files: 3, such as 'img\\\\A.JPG' for /data/img/a.jpg",
        "a.json: {{NAME}} or {{AUTHOR}} is left in 2 records, first a.json:2. "
        "Fill it in: eyegraft data fill FILE OUT --name NAME --author AUTHOR",
    ]


def test_sound_records_have_none(caplog: pytest.LogCaptureFixture) -> None:
    notes = ReadingNotes()
    notes.add(conversation(1, "I am Iris."))
    notes.log("a.json")
    assert not caplog.records
