"""Chat templates: what a conversation is at inference, before every answer and after it.

Nothing here builds text from parts of a template: the template itself renders the turns before each answer with its
generation prompt, as `apply_chat_template(..., add_generation_prompt=True)` does, and the conversation up to that
answer. Named templates and the tokenizer's own (`auto`) take the same path.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llm.encoding.added_tokens import Spellings, control_tokens, forbidden_in_answers, image_placeholder
from llm.encoding.answer_text import ChangedTextError, answer_text, repeated_answer
from llm.encoding.message_text import message_text, prepare_messages
from llm.encoding.named_templates import JINJA, NAMED_TEMPLATES, PLAIN
from llm.encoding.rendered_text import Marker, RenderedText
from llm.encoding.template_sandbox import RefusedError, render_parts
from llm.encoding.turn_frames import AnswerFrame, Part, Turn, TurnFrames
from llm.errors import ConfigError, TemplateError
from llm.formats.conversation import Conversation, ImageRef, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BOS = "{{- bos_token }}"


@dataclass(frozen=True, slots=True)
class RenderedAnswer:
    """An answer as the model has to write it after `prompt`: opening, text and end mark."""

    prompt: RenderedText
    answer: RenderedText
    images: tuple[ImageRef, ...]  # of the prompt, in order


class ChatTemplate:
    """One chat template with one tokenizer."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", jinja: str, plain: bool = False) -> None:
        """`plain`: questions are reduced to their images. Raises TemplateError when no end mark follows an answer."""
        self.jinja = jinja
        self.plain = plain
        self._tokenizer = tokenizer
        tokens = [*control_tokens(tokenizer).values(), image_placeholder()]
        self._tokens = Spellings(tokens)
        names = {token.content for token in tokens}
        ends = {name: known.stop.replace("{e}", tokenizer.eos_token or "") for name, known in NAMED_TEMPLATES.items()}
        fitting = ", ".join(name for name, end in ends.items() if end in names)
        self._advice = f"Set data.template to one of: {fitting}"
        self._rewritten = set[tuple[str, ...]]()  # roles up to answers that later prompts repeat otherwise
        self._frames = TurnFrames(self._apply, self._tokens, self._advice)
        frame = self._frame(("user", "assistant"), plain)
        self._check_end(frame, 2, 2)
        last_token = self._tokens.spans(frame.end)[-1]
        self.stop: str = frame.end[slice(*last_token)]
        self.opening: str = frame.opening
        """What the template writes between its generation prompt and an answer: the model learns to write it."""
        self.surplus: str = frame.surplus.strip() and frame.surplus
        """The end of the generation prompt where finished conversations go on differently; usually nothing."""

    def prompt(self, messages: tuple[Message, ...]) -> RenderedText:
        """The text before the next answer; without messages the start of a plain text.

        Raises TemplateError when the template does not write every turn once.
        """
        plain = self.plain or not messages
        turns = self._turns(messages, plain)
        if not plain:
            self._frames.generation_prompt(tuple(message.role for message in turns))
        [text] = self._rendered(turns, [(len(turns), True)], plain)
        self._check_texts(turns, text, plain)
        return text

    def answers(self, conversation: Conversation) -> list[RenderedAnswer]:
        """The answers with loss, each after its own prompt, in their order.

        A plain text is rendered as such by every template. Raises TemplateError when the template does not write every
        turn once, changes a text, or writes no end mark after an answer.
        """
        plain = self.plain or conversation.is_plain
        turns = self._turns(conversation.messages, plain)
        try:
            return self._answers(turns, plain)
        except TemplateError as error:
            raise TemplateError(f"{conversation.place}: {error}") from error

    @property
    def note(self) -> str:
        """What has to be known about how answers begin; usually nothing."""
        if self.surplus:
            return (
                f"the chat template's prompts end in {self.surplus!r}, which finished conversations do not have: "
                "answers are learnt directly after it. Give them what follows there, such as thoughts and the tag that "
                "closes them"
            )
        if self.opening.strip():
            return (
                f"the chat template writes {self.opening!r} before an answer, but not in its prompts: the model learns "
                "to write it itself. Eyegraft leaves it out of answers; other software may show it"
            )
        return ""

    def between(self, roles: tuple[str, ...]) -> list[str]:
        """What the template writes before, between and after turns of these roles."""
        return self._frames.between(roles)

    def generation_prompt(self, roles: tuple[str, ...]) -> str:
        """What the template writes after turns of these roles for a model to answer."""
        return self._frames.generation_prompt(roles)

    def _turns(self, messages: tuple[Message, ...], plain: bool) -> tuple[Message, ...]:
        """The messages as this template expects them."""
        return prepare_messages(messages, plain)

    def _content(self, turn: Message) -> str:
        """The text of a message with its images, as `_message` reads it."""
        return message_text(turn)

    def _texts_of(self, turn: Message) -> Sequence[str]:
        """The texts of a message that the template has to write unchanged."""
        return [self._content(turn)]

    def _message(self, role: str, content: str, plain: bool) -> dict[str, Any]:
        """A message as jinja receives it; `plain`: that of plain texts, else the template's."""
        return {"role": role, "content": content}

    def _answers(self, turns: tuple[Message, ...], plain: bool) -> list[RenderedAnswer]:
        learnt = [number for number, turn in enumerate(turns) if turn.role == "assistant" and turn.loss]
        if not learnt:
            return []
        roles = tuple(message.role for message in turns)
        frames = [self._frame(roles[: number + 1], plain) for number in learnt]
        for number, frame in zip(learnt, frames, strict=True):
            self._check_end(frame, number + 1, len(turns))
        finished = [number for number in learnt[:-1] if roles[: number + 1] in self._rewritten] + learnt[-1:]
        parts = [*((number, True) for number in learnt), *((number + 1, False) for number in finished)]
        texts = self._rendered(turns, parts, plain)
        self._check_texts(turns[: learnt[-1]], texts[-1], plain)
        prompts, last = texts[: len(learnt)], dict(zip(finished, texts[len(learnt) :], strict=True))
        answers = []
        for number, frame, prompt, later in zip(learnt, frames, prompts, [*prompts[1:], None], strict=True):
            answer = repeated_answer(prompt, later, turns[number].text, frame) if later and number not in last else None
            if answer is None:
                answer = self._answer(turns, number, frame, prompt, last.get(number), plain)
            answers.append(RenderedAnswer(prompt, answer, _images(turns[:number])))
        return answers

    def _answer(
        self,
        turns: tuple[Message, ...],
        number: int,
        frame: AnswerFrame,
        prompt: RenderedText,
        finished: RenderedText | None,
        plain: bool,
    ) -> RenderedText:
        if finished is None:  # an answer that later prompts repeat otherwise
            self._rewritten.add(tuple(turn.role for turn in turns[: number + 1]))
            [finished] = self._rendered(turns, [(number + 1, False)], plain)
        text = turns[number].text
        typed = RenderedText(text, tuple(self._forbidden.spans(text)))
        try:
            return answer_text(prompt, finished, typed, frame)
        except ChangedTextError as error:
            raise _changed(error.has, error.writes) from error

    def _frame(self, roles: tuple[str, ...], plain: bool) -> AnswerFrame:
        return self._plain_frame() if plain else self._frames.answer(roles)

    def _plain_frame(self) -> AnswerFrame:
        """The frame of plain text: EOS follows each answer."""
        eos = str(self._tokenizer.eos_token or "")
        if not eos:
            raise TemplateError("the tokenizer has no eos_token, so plain text would have no end. Give it one")
        return AnswerFrame("", "", eos, eos)

    def _check_end(self, frame: AnswerFrame, number: int, turns: int) -> None:
        if not frame.end:
            raise TemplateError(
                f"no end mark follows the answer in turn {number} of {turns}: the template writes {frame.tail!r} "
                f"after it, without a special token of the tokenizer. A model trained so would never stop. "
                f"{self._advice}"
            )

    def _check_texts(self, turns: Sequence[Message], rendered: RenderedText, plain: bool) -> None:
        """Raise TemplateError for a system prompt or question whose text the template changes inside."""
        questions = [] if plain else [turn for turn in turns if turn.role != "assistant"]
        for text in (text.strip() for turn in questions for text in self._texts_of(turn)):
            if text not in rendered.text:
                raise _changed(text, rendered.text)

    def _refuse_joined(self, texts: Sequence[str]) -> None:
        """Raise TemplateError for a text that completes a token which the template begins, such as `<` and `s>`."""
        heads, ends = self._completions
        for text in texts:
            if text.startswith(heads) or text.endswith(ends):
                raise TemplateError(
                    f"the chat template and the text {text[:40]!r} beside it spell a special token together. "
                    "Change the text or choose another data.template"
                )

    @cached_property
    def _completions(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """How a text begins or ends that completes a token with what the template writes before or after texts."""
        pieces = [text.split("\ue000") for text in self._shown("\ue000")]
        befores = {before for text in pieces for before in text[:-1]}
        afters = {after for text in pieces for after in text[1:]}
        names = [token.content for token in control_tokens(self._tokenizer).values()]
        cuts = [(name[:at], name[at:]) for name in names for at in range(1, len(name))]
        last = {before[-1:] for before in befores}, {after[:1] for after in afters}
        heads = [b for a, b in cuts if a[-1] in last[0] and any(before.endswith(a) for before in befores)]
        ends = [a for a, b in cuts if b[0] in last[1] and any(after.startswith(b) for after in afters)]
        return tuple(heads), tuple(ends)

    @cached_property
    def _forbidden(self) -> Spellings:
        """The tokens that answers cannot hold."""
        names = {text[start:end] for text in self._shown("x") for start, end in self._tokens.spans(text)}
        return Spellings([*forbidden_in_answers(self._tokenizer, names), image_placeholder()])

    def _shown(self, content: str) -> list[str]:
        """What the template writes around turns of all roles, as far as it accepts them, and `content` for each."""
        texts = []
        for roles in (("user", "assistant"), ("user", "assistant") * 2, ("system", "user", "assistant")):
            try:
                turns = [(role, content) for role in roles]
                texts += self._apply(turns, [(len(turns), False), (len(turns) - 1, True)])
            except TemplateError:
                continue
        return texts

    def _rendered(self, turns: tuple[Message, ...], parts: list[Part], plain: bool) -> list[RenderedText]:
        """The parts of the conversation as the template renders them, with the typed tokens that stay text."""
        jinja = _plain_jinja(self._tokenizer) if plain and not self.plain else self.jinja
        contents = [(turn.role, self._content(turn)) for turn in turns]
        texts = self._apply(contents, parts, jinja)
        typed = [turn.text for turn in turns]
        self._refuse_joined(typed)
        spellings = [self._forbidden if turn.role == "assistant" else self._tokens for turn in turns]
        if not any(found.any_in(text) for found, text in zip(spellings, typed, strict=True)):
            return [RenderedText(text) for text in texts]
        marker = Marker(typed)
        marked = [
            (turn.role, self._content(_marked(turn, marker, found)))
            for turn, found in zip(turns, spellings, strict=True)
        ]
        rendered = [marker.unmark(text) for text in self._apply(marked, parts, jinja)]
        for text, other in zip(texts, rendered, strict=True):
            if text != other.text:
                raise _changed(text, other.text)
        return rendered

    def _apply(self, turns: Sequence[Turn], parts: Sequence[Part], jinja: str | None = None) -> list[str]:
        jinja = jinja or self.jinja
        messages = [self._message(role, content, jinja != self.jinja) for role, content in turns]
        try:
            return render_parts(jinja, messages, self._tokenizer.special_tokens_map, parts)
        except RefusedError as error:
            roles = ", ".join(role for role, _ in turns)
            raise TemplateError(f"the chat template refuses the turns {roles}: {error}. {self._advice}") from error


def load_template(name: str, tokenizer: "PreTrainedTokenizerBase") -> ChatTemplate:
    """`auto`: the tokenizer's own chat template; else the named one, with BOS where the tokenizer adds it.

    Raises ConfigError for an unknown name, TemplateError when the tokenizer has no template or no fitting end mark.
    """
    if name == "auto":
        return _own_template(tokenizer)
    if name not in JINJA:
        near = difflib.get_close_matches(name, JINJA, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: auto, {', '.join(JINJA)}"
        raise ConfigError(f"data.template: unknown template {name!r}; {hint}")
    if name == "plain":
        return ChatTemplate(tokenizer, _plain_jinja(tokenizer), plain=True)
    return ChatTemplate(tokenizer, with_bos(JINJA[name], tokenizer))


def adds_bos(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether the tokenizer puts its BOS token before every text."""
    return tokenizer.bos_token_id is not None and tokenizer("x").input_ids[:1] == [tokenizer.bos_token_id]


def _own_template(tokenizer: "PreTrainedTokenizerBase") -> ChatTemplate:
    own = tokenizer.chat_template
    jinja = own.get("default") if isinstance(own, dict) else own
    if not jinja:
        raise TemplateError(
            "data.template is auto, but the tokenizer has no chat template. "
            f"Set data.template to the one the model was trained with, or to chatml; known: {', '.join(JINJA)}"
        )
    # A model that was trained on captions alone has the plain template as its own.
    return ChatTemplate(tokenizer, jinja, plain=jinja.endswith(PLAIN))


def _plain_jinja(tokenizer: "PreTrainedTokenizerBase") -> str:
    return with_bos(PLAIN, tokenizer)


def with_bos(jinja: str, tokenizer: "PreTrainedTokenizerBase") -> str:
    """The template with the BOS token before its text, where the tokenizer adds it to every text."""
    return _BOS + jinja if adds_bos(tokenizer) else jinja


def _images(turns: Sequence[Message]) -> tuple[ImageRef, ...]:
    return tuple(part for turn in turns for part in turn.parts if isinstance(part, ImageRef))


def _marked(turn: Message, marker: Marker, spellings: Spellings) -> Message:
    """The turn with marks beside the tokens that its texts spell; the placeholders of its images have none."""
    marked = (marker.mark(part, spellings) if isinstance(part, str) else part for part in turn.parts)
    return replace(turn, parts=tuple(marked))


def _changed(has: str, writes: str) -> TemplateError:
    """The error for a text that the template changes, with the first place where it does."""
    at = max((size for size in range(len(has) + 1) if has[:size] in writes), default=0)
    there = writes.rindex(has[:at]) + at
    near, other = has[max(0, at - 20) : at + 40], writes[max(0, there - 20) : there + 40]
    return TemplateError(
        f"the chat template changes a text. At character {at} it has {near!r}, the template writes {other!r}. "
        "Change the text there or choose another data.template"
    )
