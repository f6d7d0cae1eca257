"""Why a program failed that the wrapper has run: the error that its log ends with."""

from pathlib import Path

from llm.errors import EyegraftError
from llm.files.regular_files import open_regular
from vlm.service.attempts.wrapper import LOG

LAST_WORDS = 4096  # bytes of the log in which the reason of a failure is looked for


def last_words(folder: Path) -> str:
    """The error that the log in a folder ends with, as `eyegraft` prints it; empty where it ends with none."""
    try:
        with open_regular(folder / LOG) as stream:
            stream.seek(max(0, stream.seek(0, 2) - LAST_WORDS))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    _, found, message = text.rpartition(EyegraftError.label)
    return message.strip() if found else ""
