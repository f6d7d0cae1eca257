"""The tokens by which a model's answers to a choice begin, so that one forward pass compares them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llm.encoding.encoder import IGNORED, Encoder
from llm.errors import Place
from llm.formats.conversation import Conversation, Message

# How an answer may be written. Where a spelling begins with the token of another choice, it does not count.
SPELLINGS: Mapping[str, tuple[str, ...]] = {"Yes": ("Yes", "yes", "是"), "No": ("No", "no", "否")}
ASKED = (Message("user", ("?",)),)


@dataclass(frozen=True, slots=True)
class ChoiceTokens:
    """`lead` [L] ids follow every prompt before the first of `tokens`: choice -> the tokens it may begin with."""

    lead: tuple[int, ...]
    tokens: Mapping[str, tuple[int, ...]]


def choice_tokens(encoder: Encoder, choices: Sequence[str]) -> ChoiceTokens | None:
    """How answers of exactly these choices begin; None where the tokenizer has no token that distinguishes them."""
    answers = {choice: [_answer(encoder, text) for text in SPELLINGS.get(choice, (choice,))] for choice in choices}
    every = [ids for spelled in answers.values() for ids in spelled]
    length = next((at for at in range(min(map(len, every))) if len({ids[at] for ids in every}) > 1), None)
    if length is None:
        return None
    begins = {choice: {ids[length] for ids in spelled} for choice, spelled in answers.items()}
    shared = {token for token in set().union(*begins.values()) if sum(token in one for one in begins.values()) > 1}
    tokens = {choice: tuple(sorted(found - shared)) for choice, found in begins.items()}
    return ChoiceTokens(every[0][:length], tokens) if all(tokens.values()) else None


def _answer(encoder: Encoder, text: str) -> tuple[int, ...]:
    """The ids that a model is trained to write for an answer, with its end."""
    [sample] = encoder.encode(Conversation((*ASKED, Message("assistant", (text,))), Place("choices")))
    return tuple(sample.labels[sample.labels != IGNORED].tolist())
