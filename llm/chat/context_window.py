"""Shorten a conversation to the model's context: its oldest turns are removed, but not their images."""

from collections.abc import Callable
from dataclasses import replace

from llm.formats.conversation import Message


def trim_to_context(
    messages: tuple[Message, ...], tokens: Callable[[tuple[Message, ...]], int], room: int
) -> tuple[Message, ...]:
    """The system message and the newest turns, at least the last question, that take at most `room` tokens.

    Questions are removed together with their answers. Their images are moved to the first question that remains, since
    later questions may refer to them.
    """
    remaining = messages
    while tokens(remaining) > room:
        system, turns = split_system(remaining)
        if len(turns) < 3:
            break
        remaining = (*system, *_without_first(turns))
    return remaining


def split_system(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """The system message, if there is one, and the turns after it."""
    first = 1 if messages and messages[0].role == "system" else 0
    return messages[:first], messages[first:]


def _without_first(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """The turns after the first question and its answer; the next question gets its images and videos."""
    media = tuple(part for part in turns[0].parts if not isinstance(part, str))
    following = turns[2]
    return (replace(following, parts=(*media, *following.parts)), *turns[3:])
