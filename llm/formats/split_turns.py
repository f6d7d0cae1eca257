"""`data.turns: apart`: every question of a record becomes a record of its own."""

from itertools import takewhile

from llm.errors import RecordError
from llm.formats.conversation import Conversation, Message, MessagePart


def split_turns(conversation: Conversation) -> list[Conversation]:
    """One conversation per question whose answer is trained on: system prompt, leading media, question, answer.

    Plain text and records of a single question are returned as they are. Raises RecordError when an image or a video is
    anywhere but at the start of the first question: where it belongs in the other questions is not known.
    """
    system = tuple(message for message in conversation.messages if message.role == "system")
    turns = [message for message in conversation.messages if message.role != "system"]
    if conversation.is_plain or len(turns) <= 2:
        return [conversation]
    lead = _leading_media(turns[0])
    if len(lead) != len(conversation.images) + len(conversation.videos):
        raise RecordError(
            conversation.place,
            "images",
            "data.turns is apart, but an image or a video is not at the start of the first question",
            "Put them first, or set data.turns: together",
            "image-place",
        )
    pairs = list(zip(turns[::2], turns[1::2], strict=False))
    questions = [pairs[0][0], *(Message("user", (*lead, *question.parts)) for question, _ in pairs[1:])]
    return [
        Conversation((*system, question, answer), conversation.place)
        for question, (_, answer) in zip(questions, pairs, strict=True)
        if answer.loss
    ]


def _leading_media(message: Message) -> tuple[MessagePart, ...]:
    """The images and videos that a message begins with, without the white space between them.

    The template sets line breaks.
    """
    written = (part for part in message.parts if not isinstance(part, str) or part.strip())
    return tuple(takewhile(lambda part: not isinstance(part, str), written))
