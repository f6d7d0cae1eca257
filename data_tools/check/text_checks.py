"""Likely mistakes in texts that can be trained on: special tokens typed as text."""

import re
from collections.abc import Iterator, Sequence

from llm.formats.conversation import Conversation, Message

# Special tokens of the templates in `llm.encoding.named_templates` and of vision models whose data sets are common.
_SPECIAL = (
    *(
        "<image>",
        "<video>",
        "<audio>",
        "<IMG_CONTEXT>",
        "<bbox>",
        "<ref-object>",
        "<s>",
        "</s>",
        "<unk>",
        "<pad>",
        "<bos>",
        "<eos>",
        "<eoh>",
        "<eoa>",
    ),
    *("<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<im_start>", "<im_end>"),
)


def token_pattern(tokens: Sequence[str] = ()) -> re.Pattern[str]:
    """A pattern for special tokens in a text: the common ones, all of the form `<|...|>`, and `tokens`."""
    words = "|".join(re.escape(token) for token in sorted({*_SPECIAL, *tokens}, key=len, reverse=True))
    return re.compile(rf"{words}|<[|｜][\w▁ ]{{1,40}}[|｜]>")


def literal_tokens(conversation: Conversation, pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """(field, token) of the first special token typed as text in each message."""
    for number, message in enumerate(conversation.messages, 1):
        text = message.text
        found = pattern.search(text) if "<" in text or "[" in text else None
        if found:
            yield _field(number, message), found.group()


def _field(number: int, message: Message) -> str:
    return f"message {number} ({message.role})"
