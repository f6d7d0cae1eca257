"""What is worth a line in the log about records that can be trained on: image paths, and templates not filled in."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llm.errors import Place
from llm.formats.conversation import Conversation, ImageRef
from llm.log import logger

_UNFILLED = re.compile(r"\{\{\s*(?:NAME|AUTHOR)\s*\}\}", re.IGNORECASE)
FILL = "eyegraft data fill FILE OUT --name NAME --author AUTHOR"
"""The command that fills in the placeholders of identity data."""


def unfilled(conversation: Conversation) -> Iterator[tuple[str, str]]:
    """(field, placeholder) of the first `{{NAME}}` or `{{AUTHOR}}` in each message."""
    for number, message in enumerate(conversation.messages, 1):
        text = message.text
        found = _UNFILLED.search(text) if "{{" in text else None
        if found:
            yield f"message {number} ({message.role})", found.group()


@dataclass(slots=True)
class ReadingNotes:
    """Counts over the records of a source, logged once at its end."""

    respelled: int = 0
    first_image: ImageRef | None = None
    unfilled: int = 0
    first_place: Place | None = None

    def add(self, conversation: Conversation) -> None:
        """Count one record."""
        for image in conversation.images:
            if image.written:
                self.respelled += 1
                self.first_image = self.first_image or image
        if any(unfilled(conversation)):
            self.unfilled += 1
            self.first_place = self.first_place or conversation.place

    def log(self, source: str, warn: Callable[[str], object] = logger.warning) -> None:
        """Warn of image paths that name their file in another way, and of placeholders."""
        if self.first_image is not None:
            example = f"{self.first_image.written!r} for {self.first_image.path}"
            warn(f"{source}: image paths written otherwise than their files: {self.respelled}, such as {example}")
        if self.first_place is not None:
            found = f"{source}: {{{{NAME}}}} or {{{{AUTHOR}}}} is left in {self.unfilled} records"
            warn(f"{found}, first {self.first_place}. Fill it in: {FILL}")
