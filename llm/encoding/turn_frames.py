"""What a chat template writes around turns, found by rendering sentinels in place of their texts.

No template has to be parsed for that. An answer is learnt as the last turn of a finished conversation, after the
template's generation prompt:

    <|user|>Hi<|assistant|>                              the prompt
    <|user|>Hi<|assistant|><think></think>Hello.<|end|>  the finished conversation
                           ^--- opening -^      ^-end-^

The opening is part of what the model has to write: nothing writes it at inference.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from llm.encoding.added_tokens import Spellings
from llm.errors import TemplateError

Turn = tuple[str, str]  # role and text
Part = tuple[int, bool]  # number of turns, and whether a generation prompt follows
Render = Callable[[list[Turn], Sequence[Part]], list[str]]

# Sentinels are private-use characters.
_OPEN, _CLOSE = "\ue000", "\ue001"
_SENTINEL = re.compile(f"{_OPEN}[0-9]+{_CLOSE}")


@dataclass(frozen=True, slots=True)
class AnswerFrame:
    """What a template writes around an answer that is the last turn."""

    opening: str  # between the generation prompt and the answer
    surplus: str  # the end of the generation prompt where a finished conversation goes on differently: R1's `<think>\n`
    end: str  # after the answer, up to and including its end mark; empty without one
    tail: str  # after the answer to the end of the text; begins with `end`


class TurnFrames:
    """The frames of one chat template by the roles of the turns; each sequence of roles is rendered once."""

    def __init__(self, render: Render, marks: Spellings, advice: str) -> None:
        """`render` applies the template to parts of turns, `marks` finds tokens; `advice` ends messages of errors."""
        self._render, self._marks, self._advice = render, marks, advice
        self._frames: dict[tuple[str, ...], AnswerFrame] = {}
        self._prompts: dict[tuple[str, ...], str] = {}

    def answer(self, roles: tuple[str, ...]) -> AnswerFrame:
        """The frame of the answer that is the last of `roles`. Raises TemplateError unless each text is written once.

        A text may be moved: Mistral's templates put the system prompt into the last question.
        """
        if roles not in self._frames:
            count = len(roles)
            prompt, finished = self._texts(roles, [(count - 1, True), (count, False)])
            self._check(roles[:-1], prompt)
            self._check(roles, finished)
            self._frames[roles] = self._frame(prompt, finished)
        return self._frames[roles]

    def generation_prompt(self, roles: tuple[str, ...]) -> str:
        """What the template writes at the end, for a model to answer after turns of these roles."""
        if roles not in self._prompts:
            [prompt] = self._texts(roles, [(len(roles), True)])
            self._check(roles, prompt)
            self._prompts[roles] = _SENTINEL.split(prompt)[-1]
        return self._prompts[roles]

    def between(self, roles: tuple[str, ...]) -> list[str]:
        """What the template writes before, between and after turns of these roles.

        Raises TemplateError when it does not write every text once and in order.
        """
        [text] = self._texts(roles, [(len(roles), False)])
        if _SENTINEL.findall(text) != _sentinels(roles):
            raise self._wrong(roles)
        return _SENTINEL.split(text)

    def first_token(self, text: str) -> str:
        """The first token in the text, with those that follow it at once; empty without any."""
        start, end = self._first(text)
        return text[start:end]

    def _texts(self, roles: tuple[str, ...], parts: list[Part]) -> list[str]:
        return self._render(list(zip(roles, _sentinels(roles), strict=True)), parts)

    def _check(self, roles: tuple[str, ...], text: str) -> None:
        found = _SENTINEL.findall(text)
        last = _sentinels(roles)[-1:] if roles[-1:] == ("assistant",) else found[-1:]
        if sorted(found) != sorted(_sentinels(roles)) or found[-1:] != last:
            raise self._wrong(roles)

    def _wrong(self, roles: Iterable[str]) -> TemplateError:
        found = f"the chat template drops, repeats or moves the text of one of the turns {', '.join(roles)}"
        return TemplateError(f"{found}. {self._advice}")

    def _frame(self, prompt: str, finished: str) -> AnswerFrame:
        tail = _SENTINEL.split(finished)[-1]
        before = finished[: finished.rindex(_OPEN)]
        end = tail[: self._first(tail)[1]]
        at = len(prompt) - len(surplus_of(prompt, before))
        if not prompt[at:].strip():
            return AnswerFrame(before[at:], prompt[at:], end, tail)
        begun = (first for first, last in self._marks.spans(prompt) if first < at < last)  # tokens that begin alike
        return AnswerFrame("", prompt[next(begun, at) :], end, tail)

    def _first(self, text: str) -> tuple[int, int]:
        """Start and end of the first token and those directly after it."""
        spans = self._marks.spans(text)
        if not spans:
            return 0, 0
        (start, end), *rest = spans
        for first, last in rest:
            if first != end:
                break
            end = last
        return start, end


def surplus_of(prompt: str, finished: str) -> str:
    """What a prompt has and the finished conversation has not; white space alone does not keep one from the other."""
    return prompt[common_length(prompt, finished) :]


def common_length(one: str, other: str) -> int:
    """The number of characters that both begin with."""
    if other.startswith(one):
        return len(one)
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _sentinels(roles: Sequence[str]) -> list[str]:
    return [f"{_OPEN}{number}{_CLOSE}" for number in range(len(roles))]
