"""Videos of a conversation become images in the order of time, before a chat template sees them."""

from dataclasses import replace
from typing import Protocol

from llm.errors import ImageError, Place, RecordError
from llm.formats.conversation import Conversation, ImageRef, Message, MessagePart, VideoRef


class ChooseFrames(Protocol):
    """Which frames of a video a model sees."""

    def __call__(self, video: VideoRef) -> tuple[ImageRef, ...]:
        """The frames in the order of time, found from the header. ImageError for a video that cannot be read."""

    def fingerprint(self) -> str:
        """What the choice depends on, for the keys of caches; empty for that of recipes that say nothing."""


def show_frames(conversation: Conversation, choose: ChooseFrames | None) -> Conversation:
    """The conversation with the frames of each video in its place.

    RecordError for a video that cannot be read, and for any video without `choose`.
    """
    if not conversation.videos:
        return conversation
    messages = tuple(_shown(message, choose, conversation.place) for message in conversation.messages)
    return replace(conversation, messages=messages)


def _shown(message: Message, choose: ChooseFrames | None, place: Place) -> Message:
    parts: list[MessagePart] = []
    for part in message.parts:
        parts += _frames(part, choose, place) if isinstance(part, VideoRef) else (part,)
    return replace(message, parts=tuple(parts))


def _frames(video: VideoRef, choose: ChooseFrames | None, place: Place) -> tuple[ImageRef, ...]:
    if choose is None:
        advice = "Train with a recipe that names model.tower, or remove the video"
        raise RecordError(place, "video", "this model takes no videos", advice, "video-in-run")
    try:
        return choose(video)
    except ImageError as error:
        found = f"{video.path}: {error.found}" if video.path else error.found
        raise RecordError(place, "video", found, error.advice, error.code) from error
