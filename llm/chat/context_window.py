"""A conversation that grew too long for the model's context: its oldest turns go, its pictures stay."""

from collections.abc import Callable
from dataclasses import replace

from llm.formats.conversation import ImageRef, Message


def trim_to_context(
    messages: tuple[Message, ...], tokens: Callable[[tuple[Message, ...]], int], room: int
) -> tuple[Message, ...]:
    """The system message and the newest turns that take at most `room` tokens, at least the last question.

    Questions leave together with their answers. The pictures of those that left are shown by the first question that
    stays: people go on asking about them.
    """
    kept = messages
    while tokens(kept) > room:
        system, turns = split_system(kept)
        if len(turns) < 3:
            break
        kept = (*system, *_without_first(turns))
    return kept


def split_system(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """The system message, if there is one, and the turns after it."""
    first = 1 if messages and messages[0].role == "system" else 0
    return messages[:first], messages[first:]


def _without_first(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """The turns behind the first question and its answer."""
    images = tuple(part for part in turns[0].parts if isinstance(part, ImageRef))
    heir = turns[2]
    return (replace(heir, parts=(*images, *heir.parts)), *turns[3:])
