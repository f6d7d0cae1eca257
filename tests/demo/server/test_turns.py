"""Messages in every order that OpenAI's API takes: what the model reads, or why there is nothing to answer."""

import pytest

from demo.server.input_checks import validate_messages
from demo.server.limits import DEFAULT
from demo.server.turns import for_template, in_turns
from demo.server.visitor_errors import RequestError
from llm.encoding.chat_template import load_template
from llm.encoding.encoder import Encoder
from llm.errors import TemplateError
from llm.formats.conversation import ImageRef, Message, MessagePart, Role
from tests.data_tools.damage import image_bytes
from tests.vlm.conftest import make_tokenizer

ROLES: dict[str, Role] = {"s": "system", "u": "user", "a": "assistant"}
CAT, DOG = ImageRef(data=image_bytes(size=(4, 4))), ImageRef(data=image_bytes(size=(5, 4)))


def turns(*written: str) -> tuple[Message, ...]:
    """Messages from a letter of their role and a text each, as in `u:What is it?`."""
    return tuple(Message(ROLES[one[0]], (one[2:],)) for one in written)


def read(messages: tuple[Message, ...]) -> list[str]:
    """The turns that the model gets, in the form of `turns`."""
    return [f"{message.role[0]}:{message.text}" for message in in_turns(messages)]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("u:Q", "u:Q"),
        ("s:S|u:Q", "s:S|u:Q"),
        ("s:S|u:Q|a:A|u:R", "s:S|u:Q|a:A|u:R"),
        # nothing in them
        ("s:|u:Q", "u:Q"),
        ("s: \n|u:Q", "u:Q"),
        ("u:Q|a:|u:R", "u:Q\n\nR"),
        ("u:Q|a:|u:", "u:Q"),
        ("u:|a:A|u:Q", "a:A|u:Q"),
        ("u:Q|a:", "u:Q"),
        # several in a row
        ("u:Q|u:R", "u:Q\n\nR"),
        ("u:Q|u:R|u:T", "u:Q\n\nR\n\nT"),
        ("u:Q|a:A|a:B|u:R", "u:Q|a:A\n\nB|u:R"),
        ("s:S|s:T|u:Q", "s:S\n\nT|u:Q"),
        ("s:S|s:|s:T|u:Q", "s:S\n\nT|u:Q"),
        ("u: Q \n|u:R", "u: Q \n\n\nR"),
        # the system anywhere
        ("u:Q|s:S", "s:S|u:Q"),
        ("u:Q|a:A|s:S|u:R", "s:S|u:Q|a:A|u:R"),
        ("s:S|u:Q|a:A|s:T|u:R", "s:S\n\nT|u:Q|a:A|u:R"),
        ("u:Q|s:S|u:R", "s:S|u:Q\n\nR"),
        # the system asks
        ("s:S", "u:S"),
        ("s:S|s:T", "s:S|u:T"),
        ("u:Q|a:A|s:S", "u:Q|a:A|u:S"),
        ("s:S|u:Q|a:A|s:T|s:", "s:S|u:Q|a:A|u:T"),
        # a greeting
        ("a:Hi|u:Q", "a:Hi|u:Q"),
        ("s:S|a:Hi|u:Q", "s:S|a:Hi|u:Q"),
    ],
)
def test_any_order_becomes_that_of_training(written: str, expected: str) -> None:
    assert read(turns(*written.split("|"))) == expected.split("|")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("u:Q|a:A", "message 2: is an answer, and answers are not continued here. Send a question after it"),
        ("a:A", "message 1: is an answer, and answers are not continued here. Send a question after it"),
        ("s:S|u:Q|a:A|a:B", "message 4: is an answer, and answers are not continued here. Send a question after it"),
        ("u:", "message 1: is empty. Write a question"),
        ("s:|u: ", "message 2: is empty. Write a question"),
        ("u:Q|a:A|u:\n", "message 3: is empty. Write a question"),
    ],
)
def test_without_a_question_there_is_nothing_to_answer(written: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        in_turns(turns(*written.split("|")))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([("Q", CAT), ("R",)], (CAT, "Q", "\n\n", "R")),
        ([(CAT,), ("R",)], (CAT, "R")),
        ([("Q",), (DOG,)], ("Q", DOG)),
        ([("Q", CAT), ("R", DOG)], (CAT, "Q", DOG, "R")),
        ([("Q", CAT, "P"), ("R",)], ("Q", CAT, "P", "\n\n", "R")),
    ],
)
def test_images_stay_with_the_question_they_came_with(
    parts: list[tuple[MessagePart, ...]], expected: tuple[MessagePart, ...]
) -> None:
    asked = tuple(Message("user", one) for one in parts)
    assert validate_messages(asked, DEFAULT) == (Message("user", expected),)


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        ((Message("system", (CAT,)), Message("user", ("Q",))), "message 1: holds an image. Only questions may have"),
        (
            (Message("user", ("Q",)), Message("assistant", (CAT,)), Message("user", ("Q",))),
            "message 2: holds an image",
        ),
        ((Message("user", ("Q\ud800",)),), "message 1: half of a surrogate pair, which is not a character. Write"),
    ],
)
def test_what_no_message_may_hold(messages: tuple[Message, ...], found: str) -> None:
    with pytest.raises(RequestError) as caught:
        validate_messages(messages, DEFAULT)
    assert str(caught.value).startswith(found)


# Templates that refuse what others take ------------------------------------------------------------------------------

REFUSES = {
    "nothing": "",
    "system": "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}",
    "greetings": "{% set turns = messages | rejectattr('role', 'equalto', 'system') | list %}"
    "{% if turns[0].role == 'assistant' %}{{ raise_exception('a question first') }}{% endif %}",
}
REFUSES["both"] = REFUSES["system"] + REFUSES["greetings"]
REFUSES["everything"] = (
    "{% if messages | length > 1 and messages[-1].role == 'user' %}{{ raise_exception('short talks only') }}{% endif %}"
)


def accepted(refuses: str, messages: tuple[Message, ...]) -> list[str]:
    """The turns that a tokenizer with such a template gets."""
    tokenizer = make_tokenizer()
    tokenizer.chat_template = REFUSES[refuses] + tokenizer.chat_template
    encoder = Encoder(tokenizer, load_template("auto", tokenizer))
    return [f"{one.role[0]}:{one.text}" for one in for_template(messages, encoder.prompt)]


@pytest.mark.parametrize(
    ("refuses", "written", "expected"),
    [
        ("nothing", "s:S|a:Hi|u:Q", "s:S|a:Hi|u:Q"),
        ("system", "u:Q", "u:Q"),
        ("system", "s:S|u:Q|a:A|u:R", "u:S\n\nQ|a:A|u:R"),
        ("system", "s:S|a:Hi|u:Q", "a:Hi|u:S\n\nQ"),
        ("greetings", "s:S|a:Hi|u:Q", "s:S|u:|a:Hi|u:Q"),
        ("greetings", "a:Hi|u:Q", "u:|a:Hi|u:Q"),
        ("both", "s:S|u:Q", "u:S\n\nQ"),
        ("both", "s:S|a:Hi|u:Q", "u:|a:Hi|u:S\n\nQ"),
    ],
)
def test_turns_take_the_form_that_the_template_accepts(refuses: str, written: str, expected: str) -> None:
    assert accepted(refuses, turns(*written.split("|"))) == expected.split("|")


def test_the_refusal_of_the_first_form_is_raised() -> None:
    with pytest.raises(TemplateError, match="refuses the turns system, assistant, user.*short talks only"):
        accepted("everything", turns("s:S", "a:Hi", "u:Q"))


def test_a_system_prompt_follows_the_images_of_the_first_question() -> None:
    def check(messages: tuple[Message, ...]) -> None:
        if messages[0].role == "system":
            raise TemplateError("no system")

    for parts, expected in (((CAT, "Q"), (CAT, "S", "\n\n", "Q")), ((CAT,), (CAT, "S"))):
        asked = (Message("system", ("S",)), Message("user", parts))
        assert for_template(asked, check) == (Message("user", expected),)
