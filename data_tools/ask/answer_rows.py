"""An answer becomes a row of training data, judged as training judges it, or is no answer."""

import os
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_tools.ask.questions import ApiQuestion
from llm.errors import Place, RecordError
from llm.formats.conversation import Conversation, check_conversation
from llm.formats.image_placeholders import PLACEHOLDER
from llm.formats.readers import READERS
from llm.formats.row_files import Record

AnswerRow = dict[str, object]

_TALK = """{instruction}

Write a conversation about this image: exactly {turns}, in the language of the instruction above. Every question
can be answered from the image alone. Answer with JSON and nothing else, in this form:
{{"conversation": [{{"question": "...", "answer": "..."}}]}}"""


class InvalidAnswer(Exception):
    """What the model said cannot be trained on: why."""


class _Turn(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    question: str
    answer: str


class _Talk(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    conversation: list[_Turn] = Field(fail_fast=True)  # one fault is told, so one is enough


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """What rows look like. `system` is stored with text; `question` stands in a caption's row for the instruction."""

    system: str = ""
    question: str = ""
    turns: int = 0

    def wording(self, instruction: str) -> str:
        """What is sent about a picture: the instruction, and how a conversation is to be written."""
        if not self.turns:
            return instruction
        many = "1 question with its answer" if self.turns == 1 else f"{self.turns} questions, each with its answer"
        return _TALK.format(instruction=instruction, turns=many)

    def row(self, question: ApiQuestion, answer: str) -> AnswerRow:
        """The row of training data. InvalidAnswer when the answer is not as asked or training would refuse it."""
        if not answer.strip():
            raise InvalidAnswer("the answer is empty")
        turns = read_talk(answer, self.turns) if self.turns else [(self.question or question.text, answer.strip())]
        return self._judged(question, turns)

    def check(self, question: ApiQuestion) -> None:
        """InvalidAnswer when no answer could make this question a row: found out before one is paid for."""
        self._judged(question, [(self.question or question.text, "-")])

    def _judged(self, question: ApiQuestion, turns: list[tuple[str, str]]) -> AnswerRow:
        """The row, held to what training holds it to."""
        name, row = ("llava", _picture(question, turns)) if question.image else ("openai", self._text(question, turns))
        record = Record(Place(""), row, name, images=os.sep)
        try:
            check_conversation(Conversation(READERS[name].read(record), record.place))
        except RecordError as error:
            raise InvalidAnswer(f"{error.field}: {error.found}") from error
        return row

    def _text(self, question: ApiQuestion, turns: list[tuple[str, str]]) -> AnswerRow:
        said = [("system", self.system)] if self.system else []
        for asked, answer in turns:
            said += [("user", asked), ("assistant", answer)]
        name = {"id": question.id} if question.id else {}
        return {**name, "messages": [{"role": role, "content": text} for role, text in said]}


def _picture(question: ApiQuestion, turns: list[tuple[str, str]]) -> AnswerRow:
    said = []
    for number, (asked, answer) in enumerate(turns):
        mark = "" if number else f"{PLACEHOLDER}\n"
        said += [{"from": "human", "value": mark + asked}, {"from": "gpt", "value": answer}]
    return {"id": question.id, "image": question.id, "conversations": said}


def read_talk(text: str, turns: int) -> list[tuple[str, str]]:
    """The questions and answers of a conversation written as JSON, alone or in one code fence, exactly as asked."""
    try:
        talk = _Talk.model_validate_json(unfenced(text))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise InvalidAnswer(f"not the JSON that was asked for: {f'{place}: ' if place else ''}{fault['msg']}") from None
    if len(talk.conversation) != turns:
        raise InvalidAnswer(f"{len(talk.conversation)} questions with answers, not {turns}")
    return [(turn.question.strip(), turn.answer.strip()) for turn in talk.conversation]


def unfenced(text: str) -> str:
    """What stands in the one code fence that is all of the text; else the text. Linear in its length."""
    opening, _, rest = text.strip().partition("\n")
    inside, _, closing = rest.rpartition("\n")
    fenced = opening.rstrip() in ("```", "```json") and closing.strip() == "```"
    return inside if fenced else text
