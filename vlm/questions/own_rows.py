"""The user's own conversation files, in any format that training reads: every answer becomes a question."""

from collections.abc import Iterator
from pathlib import Path

from llm.config.schema import Source
from llm.errors import DataError, RecordError
from llm.formats.conversation import Conversation, ImageRef
from llm.formats.readers import interpret, source_records
from vlm.questions.question import Question


def own_questions(path: Path, images: str) -> Iterator[Question | RecordError]:
    """A question for each answer that training would learn, with the turns before it; the errors of invalid records.

    A record whose id an earlier one has, which training accepts, is named by its number too. Raises DataError for a
    file of no known format.
    """
    source = Source(path=str(path.absolute()), images=images)
    names: set[str] = set()
    for record in source_records(source, Path.cwd(), lambda line: None):
        try:
            reading = interpret(record)
        except RecordError as error:
            yield error
            continue
        if reading.conversation is None:
            yield record.error(
                "record", f"is left out: {reading.reason}", "Add its answer or remove it", "answer-missing"
            )
        elif reading.conversation.is_plain:
            yield record.error("record", "is a text without a question", "Add the question or remove it", "turn-empty")
        else:
            place = reading.conversation.place
            name = place.id or str(place.line)
            name = f"{name}@{place.line}" if name in names else name
            names.add(name)
            yield from _of(reading.conversation, name)


def _of(conversation: Conversation, name: str) -> Iterator[Question]:
    """Questions about one image or video are resampled together, whichever records they are from."""
    for number, message in enumerate(conversation.messages):
        if message.role != "assistant" or not message.loss:
            continue
        asked = conversation.messages[:number]
        media = [part for one in asked for part in one.parts if not isinstance(part, str)]
        yield Question(
            id=f"{name}-{number}",
            group=media[0].path if media and media[0].path else name,
            form="exact",
            text=asked[-1].text,
            images=tuple(part for part in media if isinstance(part, ImageRef)),
            answers=(message.text,),
            asked=asked,
            place=conversation.place,
        )


def is_own_format(error: DataError) -> bool:
    """Whether an error of a file is about its rows, and not that no format is known for them."""
    return not (isinstance(error, RecordError) and error.code in ("format-unknown", "format-refused"))
