"""Turn an answer of the API into a training record, checked by the rules of training."""

import os
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_tools.ask.questions import ApiQuestion
from llm.errors import Place, RecordError
from llm.formats.image_placeholders import PLACEHOLDER
from llm.formats.readers import interpret
from llm.records.record import Record

AnswerRow = dict[str, object]
"""A training record as JSON: OpenAI messages for texts, LLaVA's form for images."""

_CONVERSATION_PROMPT = """{instruction}

Write a conversation about this image: exactly {turns}, in the language of the instruction above. Every question
can be answered from the image alone. Answer with JSON and nothing else, in this form:
{{"conversation": [{{"question": "...", "answer": "..."}}]}}"""


class InvalidAnswer(Exception):
    """An answer cannot be trained on; the message is the reason."""


class _QuestionAnswer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    question: str
    answer: str


class _ConversationBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    conversation: list[_QuestionAnswer] = Field(fail_fast=True)  # only the first error is reported


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """What a record is made of besides the answer.

    Args:
        system: A system prompt stored with every text record.
        question: The question stored with a caption, in place of the instruction.
        turns: Questions about each image; 0 asks for a caption.
    """

    system: str = ""
    question: str = ""
    turns: int = 0

    def prompt(self, instruction: str) -> str:
        """The text sent with an image: the instruction, and for a conversation the form of the answer."""
        if not self.turns:
            return instruction
        many = "1 question with its answer" if self.turns == 1 else f"{self.turns} questions, each with its answer"
        return _CONVERSATION_PROMPT.format(instruction=instruction, turns=many)

    def row(self, question: ApiQuestion, answer: str) -> AnswerRow:
        """The training record. InvalidAnswer for an answer of the wrong form, or one that training would refuse."""
        if not answer.strip():
            raise InvalidAnswer("the answer is empty")
        if self.turns:
            return self._checked(question, read_conversation(answer, self.turns))
        return self._checked(question, [(self.question or question.text, answer.strip())])

    def check(self, question: ApiQuestion) -> None:
        """InvalidAnswer for a question that no answer could turn into a record; called before any request."""
        self._checked(question, [(self.question or question.text, "-")])

    def _checked(self, question: ApiQuestion, turns: list[tuple[str, str]]) -> AnswerRow:
        """The record, checked as training checks it."""
        name = "llava" if question.image else "openai"
        row = _image_row(question, turns) if question.image else self._text_row(question, turns)
        record = Record(Place(""), row, name, images=os.sep)
        try:
            interpret(record)
        except RecordError as error:
            raise InvalidAnswer(f"{error.field}: {error.found}") from error
        return row

    def _text_row(self, question: ApiQuestion, turns: list[tuple[str, str]]) -> AnswerRow:
        messages = [("system", self.system)] if self.system else []
        for asked, answer in turns:
            messages += [("user", asked), ("assistant", answer)]
        name = {"id": question.id} if question.id else {}
        return {**name, "messages": [{"role": role, "content": text} for role, text in messages]}


def _image_row(question: ApiQuestion, turns: list[tuple[str, str]]) -> AnswerRow:
    conversations = []
    for number, (asked, answer) in enumerate(turns):
        placeholder = "" if number else f"{PLACEHOLDER}\n"
        conversations += [{"from": "human", "value": placeholder + asked}, {"from": "gpt", "value": answer}]
    return {"id": question.id, "image": question.id, "conversations": conversations}


def read_conversation(text: str, turns: int) -> list[tuple[str, str]]:
    """Exactly `turns` (question, answer) pairs from JSON, alone or in a code fence. InvalidAnswer otherwise."""
    try:
        body = _ConversationBody.model_validate_json(strip_code_fence(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise InvalidAnswer(f"not the requested JSON: {f'{place}: ' if place else ''}{first['msg']}") from None
    if len(body.conversation) != turns:
        raise InvalidAnswer(f"{len(body.conversation)} questions with answers, {turns} requested")
    return [(turn.question.strip(), turn.answer.strip()) for turn in body.conversation]


def strip_code_fence(text: str) -> str:
    """The content of a code fence that is all of the text; otherwise the text. Takes time linear in its length."""
    opening, _, rest = text.strip().partition("\n")
    inside, _, closing = rest.rpartition("\n")
    fenced = opening.rstrip() in ("```", "```json") and closing.strip() == "```"
    return inside if fenced else text
