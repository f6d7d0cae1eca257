"""The laws of a conversation, each broken once."""

import pytest

from llm.errors import Place, RecordError
from llm.formats.conversation import Conversation, ImageRef, Message, check_conversation
from tests.llm.rows import ONE, bot, system, user

LAWLESS = {
    "no answer": ([user("Q")], "answers: there is none"),
    "nothing": ([], "answers: there is none"),
    "a question left": ([user("Q"), bot("A"), user("Q2")], "message 3: a question without an answer"),
    "two questions": ([system("S"), user("Q"), user("Q2"), bot("A")], "message 3: is from user, not from assistant"),
    "answer first": ([bot("A"), user("Q"), bot("A")], "message 1: is from assistant, not from user"),
    "answer to a system": ([system("S"), bot("A")], "message 2: is from assistant, not from user"),
    "late system": ([user("Q"), system("S"), bot("A")], "message 2: is from system"),
    "empty answer": ([user("Q"), bot(" \n")], r"message 2 \(assistant\): is empty"),
    "empty question": ([user(""), bot("A")], r"message 1 \(user\): is empty"),
    "empty text": ([bot("")], "is empty"),
    "image in an answer": ([user("Q"), Message("assistant", (ImageRef("a.png"),))], "holds an image"),
    "unfilled image": ([user(ImageRef(), "Q"), bot("A")], "an image without a path"),
    "half a character": ([user("Q\ud83d"), bot("A")], "half of a surrogate pair"),
    "nothing to learn": ([user("Q"), bot("A", False)], "no answer has loss"),
}


@pytest.mark.parametrize("case", LAWLESS)
def test_invalid_conversations_raise(case: str) -> None:
    turns, message = LAWLESS[case]
    with pytest.raises(RecordError, match=rf"a\.json:4: .*{message}"):
        check_conversation(Conversation(tuple(turns), Place("a.json", 4)))


@pytest.mark.parametrize(
    "turns", [[user(ImageRef("a.png")), bot("A")], [bot("text")], [system("S"), *ONE, user("Q"), bot("A", False)]]
)
def test_valid_conversations_pass(turns: list[Message]) -> None:
    check_conversation(Conversation(tuple(turns), Place("a.json")))
