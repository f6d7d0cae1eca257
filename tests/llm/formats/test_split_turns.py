"""`data.turns: apart`: records written by hand, and the conversations they become."""

import pytest

from llm.errors import Place, RecordError
from llm.formats.conversation import Conversation, ImageRef, Message
from llm.formats.split_turns import split_turns

IMAGE = ImageRef("a.png")


def _record(*questions: tuple[str | ImageRef, ...]) -> Conversation:
    messages: list[Message] = [Message("system", ("S",))]
    for parts in questions:
        messages += [Message("user", parts), Message("assistant", ("a",))]
    return Conversation(tuple(messages), Place("f.json", 3))


def test_every_question_repeats_system_prompt_and_images() -> None:
    found = split_turns(_record((IMAGE, "\nfirst?"), ("second?",)))
    assert [conversation.messages[1].parts for conversation in found] == [
        (IMAGE, "\nfirst?"),
        (IMAGE, "second?"),
    ]
    assert all(conversation.messages[0].text == "S" and len(conversation.messages) == 3 for conversation in found)


def test_an_image_elsewhere_is_refused() -> None:
    message = "f.json:3: .*data.turns is apart, but an image or a video is not at the start of the first question"
    for first in (("first?",), ("first ", IMAGE)):
        with pytest.raises(RecordError, match=message):
            split_turns(_record(first, (IMAGE, "second?")))


def test_white_space_between_leading_images_is_left_out() -> None:
    other = ImageRef("b.png")
    found = split_turns(_record((IMAGE, " \n", other, "\nfirst?"), ("second?",)))
    assert found[1].messages[1].parts == (IMAGE, other, "second?")


def test_answers_without_loss_are_left_out_and_single_questions_unchanged() -> None:
    first, second = Message("user", ("1?",)), Message("user", ("2?",))
    untrained, trained = Message("assistant", ("a",), loss=False), Message("assistant", ("b",))
    (only,) = split_turns(Conversation((first, untrained, second, trained), Place("f.json")))
    assert only.messages == (second, trained)
    for record in (_record(("what is ", IMAGE)), Conversation((trained,), Place("f.json"))):
        assert split_turns(record) == [record]
