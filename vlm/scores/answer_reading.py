"""What a free answer says: a letter, yes or no, a number, a box. None where it says none of these clearly."""

import re
from collections.abc import Mapping
from math import isfinite

from vlm.scores.boxes import Box, BoxConvention

_AROUND = r"\s*`\"'“”‘’()\[\]{}<>（）【】「」.．:：,，、。;；!！?？"
_ALONE = re.compile(rf"[{_AROUND}]*([A-Za-z])[{_AROUND}]*")
_FIRST = re.compile(r"[\s*`\"'(\[（【]*([A-Z])\s*(?:[)\].:：,，、。）】*]|\n|$)")
_NAMED = re.compile(
    r"(?i:answer|option|choice)\s*(?i:is|would be|should be|:|：)?\s*(?i:option|choice)?"
    r"[\s:：*`\"'(\[]*([A-Z])(?![A-Za-z'’])"
    r"|(?:答案|选项|选择|应选|应该选|选)\s*(?:是|为|应为)?\s*(?:选项)?[\s:：*`\"'(\[（【“]*([A-Z])(?![A-Za-z])"
)
_CAPITAL = re.compile(r"(?<![A-Za-z'’])([A-Z])(?![A-Za-z'’])")
_ARTICLE = re.compile(r"(?<![A-Za-z'’])A(?=\s+(?!and\b|or\b)[a-z])")  # the word, not the letter

_SENTENCE_END = re.compile(r"[.!?。！？\n]")
_NO = re.compile(r"(?i)\b(?:no|not|none|cannot)\b|n['’]t\b|不|没|否|无|非")
_YES_FIRST = re.compile(r"(?i)\W*(?:yes\b|yeah\b|true\b|是|对|有|正确)")
_NO_FIRST = re.compile(r"(?i)\W*(?:no\b|not\b|false\b|不|否|没|错)")

_NUMBER = re.compile(r"(?<![\w.,])[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d{1,3})?%?(?![\w]|[.,]\d)")
_FOUR = re.compile(r"(?<![\w.])" + r"[\s,()\[\]]+".join([r"([+-]?(?:\d+\.?\d*|\.\d+))"] * 4) + r"(?![\w]|\.\d)")


def read_letter(answer: str, options: Mapping[str, str]) -> str | None:
    """The letter that an answer chooses among `options`, letter -> text.

    In this order: the letter alone, in any brackets; a letter and a mark at the start ("B. a cat"); the last letter
    after "answer", "option" or "choice" and after 答案 or 选; the only option whose text the answer is, or has in it;
    the only letter of the options that it has as a word of its own.
    """
    text = answer.strip()
    for form in (_ALONE.fullmatch(text), _FIRST.match(text)):
        if form is not None and form[1].upper() in options:
            return form[1].upper()
    named = [letter for found in _NAMED.finditer(text) if (letter := found[1] or found[2]) in options]
    if named:
        return named[-1]
    return _by_text(text, options) or _by_capital(text, options)


def _by_text(answer: str, options: Mapping[str, str]) -> str | None:
    """The only option whose text is in the answer; "black cat" counts, and not "cat" inside it."""
    said = _plain(answer)
    texts = {letter: plain for letter, text in options.items() if (plain := _plain(text))}
    same = [letter for letter, text in texts.items() if text == said]
    if same:
        return same[0] if len(same) == 1 else None
    found = [letter for letter, text in texts.items() if _has_words(said, text)]
    longest = [one for one in found if not any(one != other and texts[one] in texts[other] for other in found)]
    return longest[0] if len(longest) == 1 else None


def _plain(text: str) -> str:
    return " ".join(text.casefold().strip(" \t\r\n.。!！?？,，;；:：\"'`*()（）[]").split())


def _has_words(text: str, words: str) -> bool:
    """Whether `words` are in the text, and no letter or digit of the Latin script continues them."""
    start = r"(?<![a-z0-9])" if re.match(r"[a-z0-9]", words) else ""
    end = r"(?![a-z0-9])" if re.search(r"[a-z0-9]$", words) else ""
    return re.search(f"{start}{re.escape(words)}{end}", text) is not None


def _by_capital(answer: str, options: Mapping[str, str]) -> str | None:
    letters = {letter for letter in _CAPITAL.findall(_ARTICLE.sub("", answer)) if letter in options}
    if "I" in letters and re.search(r"\bI\s+[a-z]", answer):
        letters.discard("I")  # the pronoun
    return letters.pop() if len(letters) == 1 else None


def read_yes_no(answer: str) -> str | None:
    """`yes` or `no` where the answer begins with it, as MME reads it; also true, false, 是 and 不 and their like."""
    if _NO_FIRST.match(answer):
        return "no"
    return "yes" if _YES_FIRST.match(answer) else None


def read_presence(answer: str) -> str | None:
    """POPE's reading: the first sentence with `no` or `not` says no, any other says yes. None for an empty answer.

    Source: Li et al., Evaluating Object Hallucination in Large Vision-Language Models (2023). Contractions such as
    "isn't" and the Chinese negations count as `not`.
    """
    text = answer.strip().lstrip("*`\"'.!?。！？ \n")
    if not text:
        return None
    return "no" if _NO.search(_SENTENCE_END.split(text, maxsplit=1)[0]) else "yes"


def read_number(answer: str) -> float | None:
    """The only number in an answer, or the last one after "is", "=" or 是; None if there are several or none.

    Thousands may be separated by commas; a percentage is divided by 100, as ChartQA's score reads it.
    """
    numbers = list(_NUMBER.finditer(answer))
    if len(numbers) > 1:
        numbers = [one for one in numbers if re.search(r"(?:\bis|\bare|=|是|为|约)\s*$", answer[: one.start()])][-1:]
    if len(numbers) != 1:
        return None
    text = numbers[0][0].replace(",", "")
    value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    return value if isfinite(value) else None


def read_box(answer: str, convention: BoxConvention, size: tuple[int, int]) -> Box | None:
    """The first four numbers in a row of an answer as a box in pixels; brackets and tags may be around them."""
    found = _FOUR.search(answer)
    if found is None:
        return None
    left, top, right, bottom = (float(number) for number in found.groups())
    return convention.box((left, top, right, bottom), size)
