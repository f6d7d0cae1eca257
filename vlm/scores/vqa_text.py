"""The normalisation of answers that VQA's evaluation describes, written from its description.

https://visualqa.org/evaluation.html: lower case; no periods except in decimal numbers; number words as digits; no
articles; apostrophes added where a contraction lacks them; every other punctuation mark except apostrophe and colon
becomes a space, but a comma between digits becomes nothing (100,978 is 100978).
"""

import re
from functools import lru_cache

_PERIOD = re.compile(r"\.(?!\d)")  # not that of a decimal number
_COMMA = re.compile(r"(?<=\d),(?=\d)")
_OTHER = re.compile(r"[^\w\s.':]|_")
_ARTICLES = frozenset({"a", "an", "the"})
_DIGITS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}
# Contractions whose spelling without apostrophes is no other common word ("well", "were", "ill", "shell", "id").
_CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
how'd how'll how's i'd've i'm i've isn't it'd it'd've it'll let's ma'am mightn't mightn't've might've mustn't must've
needn't not've o'clock oughtn't shan't she'd've she's should've shouldn't shouldn't've somebody'd somebody'd've
somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll that's
there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll
what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't
would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
_SPELLED = {spelling.replace("'", ""): spelling for spelling in _CONTRACTIONS.split()}


@lru_cache(maxsize=1 << 16)
def normalised(text: str) -> str:
    """The text as VQA compares it."""
    text = _COMMA.sub("", text.lower().replace("’", "'"))
    words = _OTHER.sub(" ", _PERIOD.sub("", text)).split()
    kept = [_DIGITS.get(word, word) for word in words if word not in _ARTICLES]
    return " ".join(_SPELLED.get(word.replace("'", ""), word) for word in kept)
