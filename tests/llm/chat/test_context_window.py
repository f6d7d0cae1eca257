"""Long conversations lose their oldest turns, but no image."""

from llm.chat.context_window import split_system, trim_to_context
from llm.formats.conversation import ImageRef, Message

SYSTEM = Message("system", ("S" * 5,))
IMAGE = ImageRef("a.png")


def tokens(messages: tuple[Message, ...]) -> int:
    """A character a token, ten an image."""
    images = sum(isinstance(part, ImageRef) for message in messages for part in message.parts)
    return sum(len(message.text) for message in messages) + 10 * images


def turns(*texts: str) -> tuple[Message, ...]:
    return tuple(Message("assistant" if index % 2 else "user", (text,)) for index, text in enumerate(texts))


def test_a_conversation_that_fits_is_unchanged() -> None:
    messages = (SYSTEM, *turns("aaaa", "bbbb", "cccc"))
    assert trim_to_context(messages, tokens, 17) is messages


def test_turns_are_removed_in_pairs_and_the_system_message_remains() -> None:
    messages = (SYSTEM, *turns("aaaa", "bbbb", "cccc", "dddd", "eeee"))
    assert trim_to_context(messages, tokens, 24) == (SYSTEM, *turns("cccc", "dddd", "eeee"))
    assert trim_to_context(messages, tokens, 16) == (SYSTEM, *turns("eeee"))
    assert trim_to_context(messages[1:], tokens, 12) == turns("cccc", "dddd", "eeee")


def test_the_last_question_always_remains() -> None:
    assert trim_to_context((SYSTEM, *turns("aaaa", "bbbb", "c" * 99)), tokens, 10) == (SYSTEM, *turns("c" * 99))


def test_images_move_to_the_first_remaining_question() -> None:
    first, last = Message("user", (IMAGE, "aaaa")), Message("user", (ImageRef("b.png"), "e"))
    asked = (first, *turns("aaaa", "bbbb", "cccc", "dddd")[1:], last)
    assert [message.role for message in asked] == ["user", "assistant", "user", "assistant", "user"]
    assert trim_to_context(asked, tokens, 21) == (Message("user", (IMAGE, ImageRef("b.png"), "e")),)
    once = trim_to_context(asked, tokens, 32)
    assert once[0] == Message("user", (IMAGE, "cccc")) and len(once) == 3


def test_split_system() -> None:
    assert split_system((SYSTEM, *turns("a"))) == ((SYSTEM,), turns("a"))
    assert split_system(turns("a")) == ((), turns("a")) and split_system(()) == ((), ())
