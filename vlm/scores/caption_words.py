"""Captions as words: like the Penn Treebank tokenizer of COCO's evaluation, and Chinese by characters.

COCO's evaluation runs Stanford's PTBTokenizer in lower case and drops punctuation. The rules here are written from its
documentation; tests/vlm/scores/captions.json holds sentences with the tokens of the original.
"""

import re
from functools import lru_cache

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff"  # characters of Chinese and Japanese
_WORD = re.compile(
    rf"""
    [{_HAN}]                                    # one character
    | <[a-z/][^<>\s]*>                          # a tag
    | (?:[a-z]\.){{2,}}                         # u.s., p.m., e.g.
    | (?:mr|mrs|ms|dr|st|vs|etc|jr|sr|co|inc|ave|prof|no)\.(?=\s|$)
    | \d+(?:[.,:]\d+)+ | \d+/\d+                # 3,000 and 3:30 and 1/2
    | [^\W_{_HAN}]+(?:[-_/.&@+][^\W_{_HAN}]+)*  # words and what joins them: t-shirt, and/or
    | '(?:s|m|d|re|ve|ll|em|til|cause|n)\b
    | [^\w\s]
    """,
    re.VERBOSE,
)
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "`": "'", "´": "'"})
_SPLITS = (
    (re.compile(r"\b(can)(not)\b"), r"\1 \2"),
    (re.compile(r"\b(gon|wan)(na)\b"), r"\1 \2"),
    (re.compile(r"\b(got)(ta)\b"), r"\1 \2"),
    (re.compile(r"\b(gim|lem)(me)\b"), r"\1 \2"),
    (re.compile(r"\bno\.(?!\s*\d)"), "no ."),
    (re.compile(r"(?<=[a-z])n't\b"), " n't"),
    (re.compile(r"(?<=\w)'(s|m|d|re|ve|ll)\b"), r" '\1"),
)
_KEPT = re.compile(r"n't|o'clock|ma'am|o'[a-z]+|'(?:s|m|d|re|ve|ll|em|til|cause|n)")
_DROPPED = frozenset(".?!,:;-'\"…—–“”。，、；：？！（）《》「」『』【】·")
# COCO's evaluation means to drop brackets, by names in upper case, and its tokenizer writes these in lower case.
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}


@lru_cache(maxsize=1 << 16)
def caption_words(text: str) -> tuple[str, ...]:
    """The words of a caption in lower case, without punctuation."""
    lower = text.lower().translate(_APOSTROPHES)
    for pattern, parts in _SPLITS:
        lower = pattern.sub(parts, lower)
    found: list[str] = []
    for piece in lower.split():
        found += [piece] if _KEPT.fullmatch(piece) else _WORD.findall(piece)
    return tuple([_BRACKETS.get(word, word) for word in found if word not in _DROPPED and set(word) != {"-"}])
