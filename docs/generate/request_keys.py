"""Tables of the keys of other servers that the API knows: what is accepted of them, and what is said otherwise."""

import json
from collections.abc import Mapping

from demo.api.request_keys import CHAT_KEYS, MESSAGE_KEYS, PART_KEYS, STREAM_KEYS, Wish


def request_keys() -> str:
    """Every key that is refused unless it asks for nothing, and every key without effect."""
    rows = [*_rows(CHAT_KEYS.wishes), *_rows(MESSAGE_KEYS.wishes, "messages.")]
    table = ["| key | accepted besides empty values | otherwise |", "|---|---|---|", *rows]
    names = [
        *sorted(CHAT_KEYS.no_effect),
        *(f"messages.{name}" for name in sorted(MESSAGE_KEYS.no_effect)),
        *(f"messages.content.{name}" for name in sorted(PART_KEYS.no_effect)),
        *(f"stream_options.{name}" for name in sorted(STREAM_KEYS.no_effect)),
    ]
    ignored = ["| key |", "|---|", *(f"| `{name}` |" for name in names)]
    return "\n".join([*table, "", *ignored])


def _rows(wishes: Mapping[str, Wish], prefix: str = "") -> list[str]:
    return [f"| `{prefix}{name}` | {_accepted(wish)} | {wish.advice} |" for name, wish in wishes.items()]


def _accepted(wish: Wish) -> str:
    values = ", ".join(f"`{json.dumps(value)}`" for value in wish.neutral)
    return values + (" only" if wish.strict and values else "only `null`" if wish.strict else "")
