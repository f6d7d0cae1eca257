"""The API key: read from the environment, sent to the server, and redacted from every text that is shown or stored."""

import os
from dataclasses import dataclass, field

from llm.errors import ConfigError

SHOWN = 7  # consecutive characters of a key that a text may contain: "sk-proj" is not secret
MASK = "***"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that `repr` does not show; empty for a local server that needs none."""

    value: str = field(default="", repr=False)

    def redact(self, text: str) -> str:
        """The text with every part of the key that is longer than `SHOWN` replaced by `MASK`."""
        size = min(len(self.value), SHOWN + 1)
        if not size:
            return text
        pieces = {self.value[start : start + size] for start in range(len(self.value) - size + 1)}
        redacted, start = "", 0
        while start < len(text):
            if text[start : start + size] not in pieces:
                redacted, start = redacted + text[start], start + 1
                continue
            start += size
            while start < len(text) and text[start - size + 1 : start + 1] in pieces:
                start += 1
            redacted += MASK
        return redacted

    def occurs_in(self, text: str) -> bool:
        """Whether the text contains the complete key; keys of at most `SHOWN` characters are not searched for."""
        return len(self.value) > SHOWN and self.value in text


EMPTY_KEY = ApiKey()


def read_api_key(name: str) -> ApiKey:
    """The key in the environment variable `name`, stripped. ConfigError for characters that no HTTP header can hold."""
    value = os.environ.get(name, "").strip()
    if any(not "!" <= character <= "~" for character in value):
        raise ConfigError(f"{name} holds spaces or characters that are not ASCII. Set it to the key alone")
    return ApiKey(value)
