"""Chat templates: a conversation becomes segments whose joined text is what the tokenizer's template renders.

Named templates and the tokenizer's own (`auto`) take the same path: `TurnFrames` finds what a template writes around
the turns, and the segments are the turns inside these frames. `render_verified` compares the result with the
template's rendering of the real texts.
"""

import difflib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llm.encoding.named_templates import JINJA, NAMED_TEMPLATES, PLAIN
from llm.encoding.segments import (
    Segment,
    TurnFrame,
    fill_frames,
    merge_segments,
    message_text,
    prepare_messages,
    rendered_text,
)
from llm.encoding.template_sandbox import RefusedError, render
from llm.encoding.turn_frames import Turn, TurnFrames
from llm.errors import ConfigError, TemplateError
from llm.formats.conversation import Conversation, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BOS = "{{- bos_token }}"


class ChatTemplate:
    """One chat template with one tokenizer."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", jinja: str, plain: bool = False) -> None:
        """`plain`: questions are reduced to their images. Raises TemplateError when no end mark follows an answer."""
        self.jinja = jinja
        self.plain = plain
        self._tokenizer = tokenizer
        self._bos = str(tokenizer.bos_token) if adds_bos(tokenizer) else ""
        tokens = (token.content for token in tokenizer.added_tokens_decoder.values())
        special = tuple(token for token in tokens if token.strip())
        ends = {name: known.stop.replace("{e}", tokenizer.eos_token or "") for name, known in NAMED_TEMPLATES.items()}
        fitting = ", ".join(name for name, end in ends.items() if end in special)
        self._advice = f"Set data.template to one of: {fitting}"
        self._frames = TurnFrames(lambda turns: self._apply(turns, self.jinja), special, self._advice)
        self._check_ends((Message("user", ()), Message("assistant", ())), plain)
        self.stop: str = self._frames.first_token(self._frames_of(("user", "assistant"), plain)[1].end)[1]

    def render(self, conversation: Conversation) -> list[Segment]:
        """The conversation as segments. Supervised are answers with loss and their end marks, nothing else.

        A plain text is rendered as such by every template. Raises TemplateError when the template does not write every
        turn once, or when an answer with loss has no end mark.
        """
        plain = self.plain or conversation.is_plain
        messages = prepare_messages(conversation.messages, plain)
        try:
            self._check_ends(messages, plain)
            frames = self._frames_of(tuple(message.role for message in messages), plain)
        except TemplateError as error:
            raise TemplateError(f"{conversation.place}: {error}") from error
        return merge_segments([*fill_frames(messages, frames), Segment(frames[-1].before, False)])

    def prompt(self, messages: tuple[Message, ...]) -> list[Segment]:
        """The segments before the next answer: by construction a prefix of what `render` gives for the conversation.

        Without messages it is the start of a plain text.
        """
        plain = self.plain or not messages
        asked = [replace(message, loss=False) for message in prepare_messages(messages, plain)]
        frames = self._frames_of((*(message.role for message in asked), "assistant"), plain)
        return merge_segments([*fill_frames(asked, frames), Segment(frames[len(asked)].before, False)])

    def between(self, roles: tuple[str, ...]) -> list[str]:
        """What the template writes before, between and after turns of these roles."""
        return self._frames.between(roles)

    @property
    def generation_prompt_suffix(self) -> str:
        """What training has between the template's own generation prompt and an answer; usually nothing."""
        generation_prompt = self._apply([("user", "?")], self.jinja, add_generation_prompt=True)
        trained = rendered_text(self.prompt((Message("user", ("?",)),)))
        if not trained.startswith(generation_prompt):
            found = "the chat template's generation prompt differs from what it writes before an answer"
            raise TemplateError(f"{found}. Set data.template")
        return trained[len(generation_prompt) :]

    def reference(self, conversation: Conversation) -> str:
        """The template's rendering of the real texts, an image written as `<image>`."""
        jinja = _plain_jinja(self._tokenizer) if conversation.is_plain and not self.plain else self.jinja
        messages = prepare_messages(conversation.messages, plain=False)
        return self._apply([(message.role, message_text(message)) for message in messages], jinja)

    def _check_ends(self, messages: Sequence[Message], plain: bool) -> None:
        frames = self._frames_of(tuple(message.role for message in messages), plain)
        for number, (message, frame) in enumerate(zip(messages, frames, strict=False), 1):
            if message.role == "assistant" and message.loss and not frame.end:
                raise TemplateError(
                    f"no end mark follows the answer in turn {number} of {len(messages)}: the template writes "
                    f"{frames[number].before!r} after it, without a special token of the tokenizer that is always "
                    f"there. A model trained so would never stop. {self._advice}"
                )

    def _frames_of(self, roles: tuple[str, ...], plain: bool) -> tuple[TurnFrame, ...]:
        return self._plain_frames(roles) if plain else self._frames.of(roles)

    def _plain_frames(self, roles: tuple[str, ...]) -> tuple[TurnFrame, ...]:
        """Frames of plain text: BOS where the tokenizer adds it, and EOS after each answer."""
        eos = str(self._tokenizer.eos_token or "")
        if not eos:
            raise TemplateError("the tokenizer has no eos_token, so plain text would have no end. Give it one")
        frames = [TurnFrame("", eos if role == "assistant" else "") for role in roles]
        return (replace(frames[0], before=self._bos), *frames[1:], TurnFrame(""))

    def _apply(self, turns: list[Turn], jinja: str, add_generation_prompt: bool = False) -> str:
        messages = [{"role": role, "content": content} for role, content in turns]
        if not messages:
            raise TemplateError("a conversation without a turn has nothing to render")
        values = {**self._tokenizer.special_tokens_map, "add_generation_prompt": add_generation_prompt}
        try:
            return render(jinja, messages, values)
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
    return ChatTemplate(tokenizer, _with_bos(JINJA[name], tokenizer))


def render_verified(template: ChatTemplate, conversation: Conversation) -> list[Segment]:
    """The segments of `render`. Raises TemplateError unless their text equals the template's rendering of the texts.

    They differ when a template changes texts, for instance removes `<think>` blocks from earlier answers.
    """
    segments = template.render(conversation)
    ours, theirs = rendered_text(segments), template.reference(conversation)
    if ours == theirs:
        return segments
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    near = slice(max(0, at - 20), at + 40)
    raise TemplateError(
        f"{conversation.place}: the chat template changes this record's text. At character {at} the record has "
        f"{ours[near]!r}, the template writes {theirs[near]!r}. Change the text there or choose another data.template"
    )


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
    return _with_bos(PLAIN, tokenizer)


def _with_bos(jinja: str, tokenizer: "PreTrainedTokenizerBase") -> str:
    return _BOS + jinja if adds_bos(tokenizer) else jinja
