"""The API key: taken from the environment, sent to the server, and shown nowhere else."""

import os
from dataclasses import dataclass, field

from llm.errors import ConfigError

SHOWN = 7  # characters of a key in a row that a text may hold: "sk-proj" is no secret
MASK = "***"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that does not print; the empty one is none, which local servers accept."""

    value: str = field(default="", repr=False)

    def hide(self, text: str) -> str:
        """The text with every piece of the key that is longer than `SHOWN` replaced by `MASK`."""
        size = min(len(self.value), SHOWN + 1)
        if not size:
            return text
        pieces = {self.value[start : start + size] for start in range(len(self.value) - size + 1)}
        told, start = "", 0
        while start < len(text):
            if text[start : start + size] not in pieces:
                told, start = told + text[start], start + 1
                continue
            start += size
            while start < len(text) and text[start - size + 1 : start + 1] in pieces:
                start += 1
            told += MASK
        return told

    def is_in(self, text: str) -> bool:
        """Whether the text holds the whole key; a word such as "none" is no key."""
        return len(self.value) > SHOWN and self.value in text


EMPTY_KEY = ApiKey()


def read_api_key(name: str) -> ApiKey:
    """The key in an environment variable, without white space around it. ConfigError where no header could carry it."""
    value = os.environ.get(name, "").strip()
    if any(not "!" <= character <= "~" for character in value):
        raise ConfigError(f"{name} holds spaces or characters that are not ASCII. Set it to the key alone")
    return ApiKey(value)
