"""Rows in a file, read as a user's would be; and messages written short."""

import json
from pathlib import Path

import pytest

from llm.config.schema import Source
from llm.errors import RecordError
from llm.formats.conversation import Message, MessagePart
from llm.formats.readers import read

Json = dict[str, object]


def system(text: str) -> Message:
    return Message("system", (text,))


def user(*parts: MessagePart) -> Message:
    return Message("user", parts)


def bot(text: str, loss: bool = True) -> Message:
    return Message("assistant", (text,), loss)


def source(folder: Path, *rows: object, **more: object) -> Source:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Source.model_validate({"path": "rows.jsonl"} | more)


def messages(folder: Path, *rows: object, **more: object) -> list[tuple[Message, ...]]:
    return [conversation.messages for conversation in read(source(folder, *rows, **more), folder)]


def refusal(folder: Path, row: object, **more: object) -> str:
    with pytest.raises(RecordError) as caught:
        messages(folder, row, **more)
    assert caught.value.place.file == str(folder / "rows.jsonl") and caught.value.place.line == 1
    return str(caught.value)


TURNS = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
ONE = (user("Q"), bot("A"))
