"""Standard output and standard error of a command: the only module that calls `print`.

Library code does not write here; it logs to `llm.log.logger`, and the command decides what becomes of that. Messages
become those of the user's language here; `raw` is for what programs read, and for what users and models wrote.
"""

import sys
from collections.abc import Iterable

from llm.errors import ConfigError
from llm.i18n.language import language
from llm.i18n.translate import Language, translated_output, width


def out(text: object = "") -> None:
    """Write a message to standard output. Flushed, so that lines of both streams keep their order in a file."""
    raw(localized(text))


def err(text: object) -> None:
    """Write a message to standard error."""
    raw_err(localized(text))


def raw(text: object = "", end: str = "\n") -> None:
    """Write to standard output what is the same in every language."""
    print(text, end=end, flush=True)


def raw_err(text: object) -> None:
    """Write to standard error what is in the user's language already."""
    print(text, file=sys.stderr, flush=True)


def localized(text: object) -> str:
    """The message in the user's language; in English where `EYEGRAFT_LANG` is not valid, which commands report."""
    return translated_output(str(text), _language())


def _language() -> Language:
    try:
        return language()
    except ConfigError:
        return "en"


def listed(texts: Iterable[str]) -> str:
    """Parts of a message, each in the user's language, as a list in it."""
    comma = "、" if _language() == "zh" else ", "
    return comma.join(localized(text) for text in texts)


def next_commands(*commands: str, to_err: bool = False) -> None:
    """The commands that a user may want next, one a line. `to_err`: where standard output is for programs."""
    for line in next_lines(*commands):
        (raw_err if to_err else raw)(line)


def next_lines(*commands: str) -> list[str]:
    """`next: ` and the commands, below each other."""
    head = localized("next:")
    head += " " if head.isascii() else ""  # a full-width colon holds its blank
    return [f"{' ' * width(head) if number else head}{command}" for number, command in enumerate(commands)]
