"""What answers benchmark questions: a model of this process or an API."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from llm.formats.conversation import Message


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question as it is sent. `choices`: the answers among which it chooses; () for a free text.

    An answer has at most `new_tokens` tokens.
    """

    messages: tuple[Message, ...]
    choices: tuple[str, ...] = ()
    new_tokens: int = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """A text; `logprobs` of the choices where they were compared; `note`: why there is no answer, for the report."""

    text: str
    logprobs: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


class Answerer(Protocol):
    """A model under evaluation."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def answers(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Answer]]:
        """Number and answer of every prompt, in the order in which they are found."""
