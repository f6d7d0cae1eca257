"""What the page shows in a service, which has other pages beside it."""

from collections.abc import Callable
from dataclasses import dataclass

from demo.pages.parts.chat_messages import QuestionInput


@dataclass(frozen=True, slots=True)
class ServiceParts:
    """What only a service knows.

    Attributes:
        train_address: The address of the Train page with a data file chosen, by the name that the page lists it under;
            empty for a file that is no longer there.
        browser_secret: With what gradio encrypts the chats in a visitor's browser: the same after a restart.
        first_file: The name of the file that the page begins with; None without a usable one.
        examples: Questions to begin a chat with, by the name of the model; their files are in the upload folder.
    """

    train_address: Callable[[str], str]
    browser_secret: str
    first_file: Callable[[], str | None]
    examples: Callable[[str | None], list[QuestionInput]]
