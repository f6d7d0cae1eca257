"""The added tokens of a tokenizer: where a text spells them, and which of them an answer may hold."""

import re
from collections.abc import Collection, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from llm.encoding.message_text import IMAGE_PLACEHOLDER

if TYPE_CHECKING:
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerBase

Span = tuple[int, int]  # start and end in a text

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# Image slots of vision models, by their names: <|image_pad|>, [IMG], <IMG_CONTEXT>, <|vision_start|>, <audio>, ...
_MEDIA = re.compile("image|img|vision|video|audio", re.IGNORECASE)
# Thoughts open answers in some templates (`<think>\n\n</think>\n\n`), but models write them, unlike turn marks.
_THOUGHT = re.compile("think|thought|reason", re.IGNORECASE)
# Special tokens that are turn marks of other templates, or of none.
_TURN = re.compile(
    "im_start|im_end|header|eot|eom|eos|bos|pad|end_?of_?(?:text|turn|sentence|message|document|role)|begin_?of|"
    r"user|assistant|system|human|inst|turn|sep|fim|reserved|unused|<\|(?:start|end|message|channel)\|>|^</?s>$",
    re.IGNORECASE,
)


class Spellings:
    """Finds tokens in texts: the leftmost, of those that begin there the longest, as tokenizers do."""

    def __init__(self, tokens: "Collection[AddedToken]") -> None:
        free = [token.content for token in tokens if not token.single_word]
        words = [token.content for token in tokens if token.single_word]
        parts = [_any_of(free)] if free else []
        parts += [rf"(?<!\w)(?:{_any_of(words)})(?!\w)"] if words else []
        self._pattern = re.compile("|".join(parts) or r"(?!)")

    def spans(self, text: str) -> list[Span]:
        """Where the text spells tokens."""
        return [match.span() for match in self._pattern.finditer(text)]

    def any_in(self, text: str) -> bool:
        """Whether the text spells a token."""
        return self._pattern.search(text) is not None


def control_tokens(tokenizer: "PreTrainedTokenizerBase") -> "dict[int, AddedToken]":
    """Every added token but those that count as ordinary text, by its id.

    Text are white space alone (▁ is sentencepiece's space), and single characters that are not special, of an extended
    vocabulary.
    """
    return {number: token for number, token in tokenizer.added_tokens_decoder.items() if not is_text(token)}


def is_text(token: "AddedToken") -> bool:
    """Whether an added token counts as ordinary text."""
    return not token.content.replace("▁", " ").strip() or (len(token.content) == 1 and not token.special)


def forbidden_in_answers(tokenizer: "PreTrainedTokenizerBase", written: Collection[str]) -> "list[AddedToken]":
    """The control tokens that an answer cannot hold; all others in its text are those tokens (`<tool_call>`).

    `written` are the tokens that the chat template writes around turns. They, begin and end tokens, turn marks of other
    templates and image slots would end an answer or stand for an image.
    """
    named = {str(token) for name, token in tokenizer.special_tokens_map.items() if name in NAMED}
    return [
        token
        for token in control_tokens(tokenizer).values()
        if token.content in named
        or _MEDIA.search(token.content)
        or (not _THOUGHT.search(token.content) and (token.content in written or _is_turn_mark(token)))
    ]


def image_placeholder() -> "AddedToken":
    """`<image>` as a token, for texts of tokenizers that have none: typed, it is no image."""
    from tokenizers import AddedToken

    return AddedToken(IMAGE_PLACEHOLDER, special=True, normalized=False)


def _is_turn_mark(token: "AddedToken") -> bool:
    return token.special and _TURN.search(token.content) is not None


def _any_of(words: Collection[str]) -> str:
    """A pattern for the longest of the words, as a tree of their characters: models have thousands of such tokens."""
    return _tree(sorted(set(words)), 0)


def _tree(words: list[str], depth: int) -> str:
    rest = [word for word in words if len(word) > depth]
    branches = [
        re.escape(first) + _tree(list(group), depth + 1) for first, group in groupby(rest, lambda word: word[depth])
    ]
    if not branches:
        return ""
    inner = branches[0] if len(branches) == 1 and len(rest) == len(words) else f"(?:{'|'.join(branches)})"
    return inner if len(rest) == len(words) else f"{inner}?"


def longest_at(words: Collection[str], text: str, start: int) -> Iterator[Span]:
    """The span of the longest of the words that begins at `start`, if there is one."""
    found = max((word for word in words if text.startswith(word, start)), key=len, default="")
    if found:
        yield start, start + len(found)


def longest_before(words: Collection[str], text: str, end: int) -> Iterator[Span]:
    """The span of the longest of the words that ends at `end`, if there is one."""
    found = max((word for word in words if text.endswith(word, 0, end)), key=len, default="")
    if found:
        yield end - len(found), end
