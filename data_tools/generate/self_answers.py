"""Ordinary chat in the model's own words: what it says anyway costs it nothing to learn again, so nothing is forgotten.

Answers in a style of our own teach that style, and a small model pays for it with what it knew: SmolLM2-135M kept 0.86
of its general answers when ordinary questions were answered by hand in one short sentence.
"""

import re
from collections.abc import Sequence

from data_tools.generate.identity import PERSONAL, QaPair
from llm.chat.chat_model import ChatModel
from llm.chat.identity_eval import ask_all

ANSWER_TOKENS = 48  # a sentence or two: a small model often comes to the point only in its second
WHOLE = re.compile(r".*(?:[.!?](?=\s|$)|[。！？])")  # up to the last end of a sentence in a line; "3.5" ends none


def rehearse(turns: Sequence[QaPair], chat_model: ChatModel) -> list[QaPair]:
    """The same questions, those of knowledge with the whole sentences of the model's own greedy answer.

    A question about the two who talk, and one whose answer has none, keep the answer they have.
    """
    asked = [text for text, _ in turns if not PERSONAL.search(text)]
    own = dict(zip(asked, ask_all(chat_model, asked, ANSWER_TOKENS), strict=True))
    return [(text, whole_sentences(own.get(text, "")) or written) for text, written in turns]


def whole_sentences(text: str) -> str:
    """The first line up to its last whole sentence; empty if there is none, or only the number that begins a list."""
    found = WHOLE.match(text.strip())
    return "" if found is None or found[0][:-1].isdigit() else found[0]
