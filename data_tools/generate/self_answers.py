"""Rehearsal: ordinary questions with the model's own answers, so that training does not change them.

Hand-written answers teach their style at the expense of what a small model knew: SmolLM2-135M kept 0.86 of its general
answers when ordinary questions were answered by hand in one short sentence.
"""

import re
from collections.abc import Sequence
from functools import partial

from data_tools.generate.identity import PERSONAL, Rehearse
from data_tools.generate.identity_texts import QaPair
from llm.chat.chat_model import ChatModel
from llm.chat.identity_eval import ask_all
from llm.model.model_folder import named_folder
from vlm.model.open_chat_model import open_chat_model

ANSWER_TOKENS = 48  # two sentences; small models often give the answer in the second
COMPLETE = re.compile(r".*(?:[.!?](?=\s|$)|[。！？])")  # up to the last end of a sentence in a line; not within "3.5"


def rehearsal(model: str) -> Rehearse:
    """`rehearse` with the model of a run, of a Hugging Face folder, or of a hub."""
    return partial(rehearse, chat_model=open_chat_model(named_folder(model)))


def rehearse(turns: Sequence[QaPair], chat_model: ChatModel) -> list[QaPair]:
    """The same questions with the complete sentences of the model's greedy answers.

    PERSONAL questions, and those that the model answers without a complete sentence, keep their answers.
    """
    questions = [text for text, _ in turns if not PERSONAL.search(text)]
    own_answers = dict(zip(questions, ask_all(chat_model, questions, ANSWER_TOKENS), strict=True))
    return [(text, complete_sentences(own_answers.get(text, "")) or written) for text, written in turns]


def complete_sentences(text: str) -> str:
    """The complete sentences of the first line; empty if there are none, or only the number of a list item."""
    found = COMPLETE.match(text.strip())
    return "" if found is None or found[0][:-1].isdigit() else found[0]
