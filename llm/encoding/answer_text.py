"""The text that a model has to write after a prompt: the template's opening, the answer, and its end mark.

It is what the chat template has after the prompt in the finished conversation. Two cases differ.

1. The finished conversation does not begin with the prompt (DeepSeek-R1's prompts end in `<think>\\n`, its finished
   conversations have no thoughts): inference sees the prompt, so the answer directly after it is learnt. An answer that
   begins with the prompt's last text itself (`<think>\\n...`) is continued from there.
2. The template removes the thoughts that the answer begins with, up to `</think>`: the answer is learnt as the record
   has it.

Where a template changes an answer in any other way, it is an error.
"""

import re

from llm.encoding.rendered_text import RenderedText
from llm.encoding.turn_frames import AnswerFrame, surplus_of

_OPENS, _CLOSES = "[<\\[◁]", "[>\\]▷]"
_THOUGHT_TAG = re.compile(rf"{_OPENS}[^<>\[\]◁▷]*(?:think|thought|reason|channel)[^<>\[\]◁▷]*{_CLOSES}", re.IGNORECASE)


class ChangedTextError(Exception):
    """The template changes a text: what the record has, and what the template writes there."""

    def __init__(self, has: str, writes: str) -> None:
        super().__init__(has, writes)
        self.has, self.writes = has, writes


def answer_text(prompt: RenderedText, finished: RenderedText, answer: RenderedText, frame: AnswerFrame) -> RenderedText:
    """What is learnt after `prompt`, where `finished` is the conversation up to this `answer`.

    Raises ChangedTextError when the template writes another answer than the record's.
    """
    written = finished.part(0, len(finished.text) - len(frame.tail))
    if not finished.text.endswith(frame.tail):
        raise ChangedTextError(answer.text, finished.text)
    surplus, end = surplus_of(prompt.text, written.text), RenderedText(frame.end)
    body = written.part(len(prompt.text) - len(surplus), len(written.text))
    if not surplus.strip() and _holds(prompt.text, body.text, answer.text):
        return body + end
    _refuse_changed(answer.text, written.text)
    rest = _stripped_as_written(answer, written.text)
    if surplus.strip():
        return _after(frame.surplus if frame.surplus.strip() else surplus, rest) + end
    thoughts = _THOUGHT_TAG.search(frame.opening)  # the answer brings its own
    return RenderedText(frame.opening[: thoughts.start()] if thoughts else frame.opening) + rest + end


def repeated_answer(prompt: RenderedText, later: RenderedText, answer: str, frame: AnswerFrame) -> RenderedText | None:
    """What is learnt after `prompt`, read off a `later` prompt that repeats the answer; None if it writes another text.

    It saves rendering the conversation up to this answer.
    """
    if not later.text.startswith(prompt.text):
        return None
    for text in (answer, answer.strip(), answer.rstrip(), answer.lstrip()):
        written = frame.opening + text + frame.end
        if later.text.startswith(written, len(prompt.text)):
            return later.part(len(prompt.text), len(prompt.text) + len(written))
    return None


def _holds(prompt: str, body: str, answer: str) -> bool:
    """Whether the text after the prompt holds the complete answer, of which the prompt may have written the beginning.

    A template may change the white space: Qwen's writes the lines of `<think>`.
    """
    if body.endswith(answer):
        return True
    found, expected = _without_white_space(body), _without_white_space(answer)
    if found.endswith(expected):
        return True
    begun = expected.removesuffix(found)
    return bool(found) and len(begun) < len(expected) and _without_white_space(prompt).endswith(begun)


def _refuse_changed(answer: str, written: str) -> None:
    """Raise ChangedTextError unless the template wrote the complete answer, or what follows its thoughts."""
    has, wrote = _without_white_space(answer), _without_white_space(written)
    ends = (tag.end() for tag in _THOUGHT_TAG.finditer(has))
    if not wrote.endswith(has) and not any(wrote.endswith(has[end:]) for end in ends):
        raise ChangedTextError(answer, written)


def _stripped_as_written(answer: RenderedText, written: str) -> RenderedText:
    """The answer without the white space at its end that the template removes."""
    return answer if written.endswith(answer.text[-1:]) else answer.part(0, len(answer.text.rstrip()))


def _after(surplus: str, answer: RenderedText) -> RenderedText:
    """The answer without the beginning that the prompt has written already."""
    opened, text = surplus.strip(), answer.text.lstrip()
    if not text.startswith(opened):
        return answer
    space = surplus[len(surplus.rstrip()) :]
    rest = text[len(opened) :].removeprefix(space)
    return answer.part(len(answer.text) - len(rest), len(answer.text))


def _without_white_space(text: str) -> str:
    return "".join(text.split())
