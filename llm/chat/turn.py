"""When an answer may use the device, and what is done in its turn after its last token."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from llm.chat.token_stream import Stopped

Turn = Callable[[Stopped], AbstractContextManager[None]]  # waits for the device and holds it during the block
Then = Callable[
    [list[int]], None
]  # receives the ids of the prompt and of the answer, with the end mark that the model wrote


def do_nothing(_: list[int]) -> None:
    """The `Then` of a caller that needs the answer alone."""


def without_waiting(_: Stopped) -> AbstractContextManager[None]:
    """The `Turn` of a caller that has the device to itself."""
    return nullcontext()
