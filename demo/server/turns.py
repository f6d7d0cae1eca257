"""Messages in any order that OpenAI's API takes become the order that models are trained on."""

from collections.abc import Callable
from dataclasses import replace

from demo.server.visitor_errors import RequestError
from llm.errors import TemplateError
from llm.formats.conversation import Message, MessagePart

BREAK = "\n\n"  # between texts that are joined


def in_turns(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The system prompt, if there is one, then questions and answers in turn; a question is last.

    - Messages without text and media are left out: clients send empty system prompts, and empty answers after errors.
    - System messages anywhere are joined in front. One at the end that follows no question is the question itself.
    - Questions in a row are joined, and so are answers, by an empty line.

    The first message may be an answer, such as a greeting. Raises RequestError when no question is at the end.
    """
    written = [message for message in messages if not _is_empty(message)]
    if written and _asks(written):
        written[-1] = replace(written[-1], role="user")
    system = [message.text for message in written if message.role == "system"]
    turns = _joined([message for message in written if message.role != "system"])
    if not turns or turns[-1].role != "user":
        raise _no_question(messages)
    return (Message("system", (BREAK.join(system),)), *turns) if system else turns


def for_template(messages: tuple[Message, ...], check: Callable[[tuple[Message, ...]], object]) -> tuple[Message, ...]:
    """The messages as the model's chat template takes them; `check` raises TemplateError for what it refuses.

    Some templates have no system prompt: it then begins the first question. Some want a question first: a greeting then
    follows an empty one. Raises the first TemplateError where neither helps.
    """
    refusal: TemplateError | None = None
    for form in (_unchanged, _without_system, _asked_first, lambda turns: _asked_first(_without_system(turns))):
        try:
            check(form(messages))
        except TemplateError as error:
            refusal = refusal or error
        else:
            return form(messages)
    assert refusal is not None
    raise refusal


def _unchanged(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    return messages


def _without_system(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The system prompt in front of the first question's text, after its images."""
    if messages[0].role != "system":
        return messages
    system, *turns = messages
    at = next(number for number, message in enumerate(turns) if message.role == "user")
    parts = turns[at].parts
    first = next((number for number, part in enumerate(parts) if isinstance(part, str)), len(parts))
    joined = (*parts[:first], system.text, *((BREAK, *parts[first:]) if parts[first:] else ()))
    return (*turns[:at], replace(turns[at], parts=joined), *turns[at + 1 :])


def _asked_first(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """An empty question before a greeting."""
    first = 1 if messages[0].role == "system" else 0
    if messages[first].role != "assistant":
        return messages
    return (*messages[:first], Message("user", ("",)), *messages[first:])


def _is_empty(message: Message) -> bool:
    return not message.text.strip() and all(isinstance(part, str) for part in message.parts)


def _asks(written: list[Message]) -> bool:
    """Whether the last message is from the system and no question comes before it that is not answered."""
    roles = [message.role for message in written]
    turns = [role for role in roles if role != "system"]
    return roles[-1] == "system" and turns[-1:] != ["user"]


def _joined(turns: list[Message]) -> tuple[Message, ...]:
    """The turns, each joined to the one before it if that has the same role."""
    joined: list[Message] = []
    for message in turns:
        if joined and joined[-1].role == message.role:
            joined[-1] = replace(joined[-1], parts=_together(joined[-1].parts, message.parts))
        else:
            joined.append(message)
    return tuple(joined)


def _together(before: tuple[MessagePart, ...], after: tuple[MessagePart, ...]) -> tuple[MessagePart, ...]:
    joint = (BREAK,) if isinstance(before[-1], str) and isinstance(after[0], str) else ()
    return (*before, *joint, *after)


def _no_question(messages: tuple[Message, ...]) -> RequestError:
    where = f"message {len(messages)}"
    if messages and not _is_empty(messages[-1]):
        found = "is an answer, and answers are not continued here"
        return RequestError(where, found, "Send a question after it")
    return RequestError(where, "is empty", "Write a question")
