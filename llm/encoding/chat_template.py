"""Chat templates: a conversation becomes a list of segments whose joined text is the tokenizer's own rendering.

A template is rendered once per pattern of roles with a sentinel in place of each turn's text; what stands between
the sentinels is the template's. So named templates and the tokenizer's own (`auto`) go one way, and no template
has to be understood. `render_verified` compares with a rendering of the real texts.
"""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from llm.encoding.named_templates import NAMED_TEMPLATES
from llm.encoding.template_sandbox import RefusedError, render
from llm.errors import ConfigError, TemplateError
from llm.formats.conversation import Conversation, ImageRef, Message, MessagePart

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IMAGE_PLACEHOLDER = "<image>"
"""How an image is written in rendered text."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of rendered text that is all supervised or all context.

    `typed` text was written by a person or a model and may hold no special token; the template's own text may.
    A segment with `image` set has empty text and stands for that image's rows.
    """

    text: str
    supervised: bool
    typed: bool = False
    image: ImageRef | None = None


_PLAIN = (
    "{%- for message in messages -%}{%- if message['role'] == 'assistant' -%}{{- message['content'] ~ eos_token -}}"
    "{%- else -%}{{- '<image>' * message['content'].count('<image>') if message['role'] == 'user' -}}"
    "{%- endif -%}{%- endfor -%}"
)

JINJA: dict[str, str] = {name: layout.jinja() for name, layout in NAMED_TEMPLATES.items()} | {"plain": _PLAIN}
"""Name -> chat template. `plain` keeps a question's images only: caption pretraining and continued pretraining."""

# Sentinels are private-use characters. The white space put around them to see what a template strips differs from
# side to side, so that what is left of it tells whose it is.
_OPEN, _CLOSE = "\ue000", "\ue001"
_SENTINEL = re.compile(f"{_OPEN}[0-9]+{_CLOSE}")
_LEFT, _RIGHT = "\n ", "\t\n"
_WHITE = "".join(filter(str.isspace, map(chr, range(0x3001))))  # what str.strip() takes
_STRIPS = ("", _WHITE, "\n")

_BOS = "{{- bos_token }}"

_FLATTEN = r"""
{%- set ns = namespace(messages=[], text='', gap='') -%}
{%- for message in messages -%}
{%- if message['content'] is iterable and message['content'] is not string -%}
{%- set ns.text = '' -%}{%- set ns.gap = '' -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}
{%- set ns.text = ns.text + ns.gap + '<image>' -%}{%- set ns.gap = '\n' -%}
{%- elif part['type'] != 'text' -%}
{{- raise_exception('content of type ' + part['type'] + ' is not known; known are image and text') -}}
{%- elif part['text'] -%}
{%- set ns.text = ns.text + ('' if part['text'].startswith('\n') else ns.gap) + part['text'] -%}{%- set ns.gap = '' -%}
{%- endif -%}
{%- endfor -%}
{%- set ns.messages = ns.messages + [dict(message, content=ns.text + ns.gap)] -%}
{%- else -%}
{%- set ns.messages = ns.messages + [message] -%}
{%- endif -%}
{%- endfor -%}
{%- set messages = ns.messages %}
""".lstrip()


def multimodal_jinja(jinja: str) -> str:
    """The same chat template for content that may also be a list of `{"type": "image"}` and `{"type": "text"}`.

    An image becomes a line of its own, `<image>` and a line break, unless the text behind it brings the line break.
    """
    return jinja if jinja.startswith(_FLATTEN) else _FLATTEN + jinja


@dataclass(frozen=True, slots=True)
class _Slot:
    """One turn of a rendered pattern: what stands around its text, and what the template strips from the text."""

    before: str
    end: str = ""  # up to and including the end mark; empty where there is none
    left: str = ""
    right: str = ""


class ChatTemplate:
    """One chat template bound to one tokenizer."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", jinja: str, plain: bool = False) -> None:
        """`plain`: questions lose their text. Raises TemplateError when no mark ends an answer."""
        self.jinja = jinja
        self._tokenizer = tokenizer
        self.plain = plain
        tokens = (token.content for token in tokenizer.added_tokens_decoder.values())
        self._tokens = tuple(token for token in tokens if token.strip())
        self._patterns: dict[tuple[tuple[str, ...], bool], tuple[_Slot, ...]] = {}
        self._check_ends((Message("user", ()), Message("assistant", ())), plain)
        self.stop: str = self._find_token(self._slots(("user", "assistant"), plain)[1].end)[1]

    def render(self, conversation: Conversation) -> list[Segment]:
        """A conversation as segments: its trained answers and their end marks are supervised, nothing else.

        A conversation that is plain text is rendered as `plain` whatever the template. Raises TemplateError when
        turns cannot be told apart or a trained answer has no end mark.
        """
        plain = self.plain or conversation.is_plain
        messages = _prepared(conversation.messages, plain)
        try:
            self._check_ends(messages, plain)
            slots = self._slots(tuple(message.role for message in messages), plain)
        except TemplateError as error:
            raise TemplateError(f"{conversation.place}: {error}") from error
        return _merge([*_fill(messages, slots), Segment(slots[-1].before, False)])

    def prompt(self, messages: tuple[Message, ...]) -> list[Segment]:
        """What stands before the next answer: by construction the beginning of what training renders.

        Without messages it is the beginning of a plain text.
        """
        plain = self.plain or not messages
        asked = [replace(message, loss=False) for message in _prepared(messages, plain)]
        slots = self._slots((*(message.role for message in asked), "assistant"), plain)
        return _merge([*_fill(asked, slots), Segment(slots[len(asked)].before, False)])

    @property
    def generation_prompt_suffix(self) -> str:
        """What training sees behind the template's own generation prompt, before an answer begins."""
        asked = [("user", "?")]
        opened = self._apply(asked, self.jinja, opens=True)
        trained = "".join(segment.text for segment in self.prompt((Message("user", ("?",)),)))
        if not trained.startswith(opened):
            raise TemplateError("the chat template opens an answer otherwise than it writes one. Set data.template")
        return trained[len(opened) :]

    def reference(self, conversation: Conversation) -> str:
        """The tokenizer's own rendering of the real texts, an image written as `<image>`."""
        other = conversation.is_plain and not self.plain
        jinja = _plain_jinja(self._tokenizer) if other else self.jinja
        messages = _prepared(conversation.messages, plain=False)
        return self._apply([(message.role, _written(message.parts)) for message in messages], jinja)

    def _check_ends(self, messages: Sequence[Message], plain: bool) -> None:
        slots = self._slots(tuple(message.role for message in messages), plain)
        for number, (message, slot) in enumerate(zip(messages, slots, strict=False), 1):
            if message.role == "assistant" and message.loss and not slot.end:
                raise TemplateError(
                    f"no mark ends the answer in turn {number} of {len(messages)}: the template writes "
                    f"{slots[number].before!r} behind it, without a special token of the tokenizer that always stands "
                    f"there. A model trained so would never stop. Set data.template to one of: {self._fitting()}"
                )

    def _fitting(self) -> str:
        ends = {
            name: layout.stop.replace("{e}", self._tokenizer.eos_token or "")
            for name, layout in NAMED_TEMPLATES.items()
        }
        return ", ".join(name for name, end in ends.items() if end in self._tokens)

    def _slots(self, roles: tuple[str, ...], plain: bool) -> tuple[_Slot, ...]:
        """One slot a turn, and one whose `before` is what stands behind the last turn."""
        if (roles, plain) not in self._patterns:
            self._patterns[roles, plain] = self._plain_pattern(roles) if plain else self._pattern(roles)
        return self._patterns[roles, plain]

    def _plain_pattern(self, roles: tuple[str, ...]) -> tuple[_Slot, ...]:
        eos = str(self._tokenizer.eos_token or "")
        bos = str(self._tokenizer.bos_token) if adds_bos(self._tokenizer) else ""
        if not eos:
            raise TemplateError("the tokenizer has no end token, so plain text would have no end. Give it an eos_token")
        slots = [_Slot("", eos if role == "assistant" else "") for role in roles]
        return (replace(slots[0], before=bos), *slots[1:], _Slot(""))

    def _pattern(self, roles: tuple[str, ...]) -> tuple[_Slot, ...]:
        between = self.between(roles)
        strips = _strips(between, self.between(roles, _LEFT, _RIGHT))
        slots, end = [], ""
        for number, (before, (left, right)) in enumerate(zip(between, strips, strict=True)):
            rest = before.removeprefix(end)
            end = self._end(roles[: number + 1], between) if roles[number : number + 1] == ("assistant",) else ""
            slots.append(_Slot(rest, end, left, right))
        return tuple(slots)

    def _end(self, roles: tuple[str, ...], between: list[str]) -> str:
        """The end mark of the last of `roles`, or nothing: it must be there as the last turn and within `between`."""
        last = self.between(roles)[-1]
        start, token = self._find_token(last)
        end = last[: start + len(token)]
        return end if between[len(roles)].startswith(end) else ""

    def _find_token(self, text: str) -> tuple[int, str]:
        """The first special or added token in the text, the longest if two begin there, and where it begins."""
        found = [(text.index(token), -len(token), token) for token in self._tokens if token in text]
        start, _, token = min(found, default=(0, 0, ""))
        return start, token

    def between(self, roles: tuple[str, ...], left: str = "", right: str = "") -> list[str]:
        """What the template writes before, between and behind turns whose text stands within `left` and `right`."""
        marks = [f"{_OPEN}{number}{_CLOSE}" for number in range(len(roles))]
        turns = [(role, left + mark + right) for role, mark in zip(roles, marks, strict=True)]
        whole = self._apply(turns, self.jinja)
        if _SENTINEL.findall(whole) != marks:
            raise TemplateError(
                f"the chat template drops, repeats or moves the text of one of the turns {', '.join(roles)}. "
                f"Set data.template to one of: {self._fitting()}"
            )
        return _SENTINEL.split(whole)

    def _apply(self, turns: list[tuple[str, str]], jinja: str, opens: bool = False) -> str:
        messages = [{"role": role, "content": content} for role, content in turns]
        if not messages:
            raise TemplateError("a conversation without a turn has nothing to render")
        try:
            return render(jinja, messages, {**self._tokenizer.special_tokens_map, "add_generation_prompt": opens})
        except RefusedError as error:
            roles = ", ".join(role for role, _ in turns)
            raise TemplateError(
                f"the chat template refuses the turns {roles}: {error}. Set data.template to one of: {self._fitting()}"
            ) from error


def load_template(name: str, tokenizer: "PreTrainedTokenizerBase") -> ChatTemplate:
    """`auto`: the tokenizer's own chat template; else a named one, opened as the tokenizer opens every text.

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
    """The rendered segments. Raises TemplateError unless their text is what the tokenizer renders from the real texts.

    It is not when a template looks into a text, as those do that cut `<think>` blocks out of earlier answers.
    """
    segments = template.render(conversation)
    ours = "".join(IMAGE_PLACEHOLDER if segment.image else segment.text for segment in segments)
    theirs = template.reference(conversation)
    if ours == theirs:
        return segments
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    near = slice(max(0, at - 20), at + 40)
    raise TemplateError(
        f"{conversation.place}: the chat template changes this record's text. At character {at} the record says "
        f"{ours[near]!r}, the template writes {theirs[near]!r}. Change the text there or choose another data.template"
    )


def adds_bos(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """True when the tokenizer opens every text with its begin token."""
    return tokenizer.bos_token_id is not None and tokenizer("x").input_ids[:1] == [tokenizer.bos_token_id]


def _own_template(tokenizer: "PreTrainedTokenizerBase") -> ChatTemplate:
    own = tokenizer.chat_template
    jinja = own.get("default") if isinstance(own, dict) else own
    if not jinja:
        raise TemplateError(
            "data.template is auto, but the tokenizer has no chat template of its own. "
            f"Set data.template to the one the model was trained with, or to chatml; known: {', '.join(JINJA)}"
        )
    # A model that was trained on captions alone carries `plain` as its own template.
    return ChatTemplate(tokenizer, jinja, plain=jinja.endswith(JINJA["plain"]))


def _plain_jinja(tokenizer: "PreTrainedTokenizerBase") -> str:
    return _with_bos(JINJA["plain"], tokenizer)


def _with_bos(jinja: str, tokenizer: "PreTrainedTokenizerBase") -> str:
    return _BOS + jinja if adds_bos(tokenizer) else jinja


def _strips(between: list[str], padded: list[str]) -> list[tuple[str, str]]:
    """Which characters the template takes from the left and right of each turn's text, told by two renderings."""
    lefts, rights = [], []
    for plain, wide in zip(between, padded, strict=True):
        fits = (
            (left, right)
            for left, right in product(_STRIPS, _STRIPS)
            if _RIGHT.rstrip(right) + plain + _LEFT.lstrip(left) == wide
        )
        # Something else happens to white space: take it as typed; `render_verified` sees the records where it matters.
        left, right = next(fits, ("", ""))
        lefts.append(left)
        rights.append(right)
    return list(zip(lefts, [*rights[1:], ""], strict=True))


def _prepared(messages: tuple[Message, ...], plain: bool) -> list[Message]:
    """The messages as a template takes them: images on lines of their own or, if plain, questions as images only."""
    if not plain:
        return [replace(message, parts=_on_lines(message.parts)) for message in messages]
    kept = [message if message.role == "assistant" else _images_only(message) for message in messages]
    return [message for message in kept if message.parts]


def _images_only(message: Message) -> Message:
    return replace(message, parts=tuple(part for part in message.parts if isinstance(part, ImageRef)))


def _on_lines(parts: tuple[MessagePart, ...]) -> tuple[MessagePart, ...]:
    """Neighbouring texts made one, and a line break behind every image whose text does not bring it."""
    texts: list[str] = [""]
    images: list[ImageRef] = []
    for part in parts:
        if isinstance(part, ImageRef):
            images.append(part)
            texts.append("")
        else:
            texts[-1] += part
    lines = [texts[0], *(text if text.startswith("\n") else "\n" + text for text in texts[1:])]
    mixed: list[MessagePart] = [lines[0]]
    for image, line in zip(images, lines[1:], strict=True):
        mixed += [image, line]
    return tuple(part for part in mixed if part)


def _written(parts: tuple[MessagePart, ...]) -> str:
    return "".join(IMAGE_PLACEHOLDER if isinstance(part, ImageRef) else part for part in parts)


def _fill(messages: Sequence[Message], slots: tuple[_Slot, ...]) -> Iterator[Segment]:
    """The turns and what stands before them and ends them; what stands behind the last is left to the caller."""
    for message, slot in zip(messages, slots, strict=False):
        trained = message.role == "assistant" and message.loss
        before, parts = slot.before, _stripped(message.parts, slot)
        # A word takes the space before it into its token: leave the template's space with the question, so that
        # `USER: Where` is tokenised as the tokenizer would. An answer is only what the model has to write.
        if message.role != "assistant" and before.endswith(" ") and parts and isinstance(parts[0], str):
            before, parts = before[:-1], (" " + parts[0], *parts[1:])
        yield Segment(before, False)
        for part in parts:
            yield Segment("", False, image=part) if isinstance(part, ImageRef) else Segment(part, trained, typed=True)
        yield Segment(slot.end, trained)


def _stripped(parts: tuple[MessagePart, ...], slot: _Slot) -> tuple[MessagePart, ...]:
    stripped = list(parts)
    if stripped and isinstance(stripped[0], str):
        stripped[0] = stripped[0].lstrip(slot.left)
    if stripped and isinstance(stripped[-1], str):
        stripped[-1] = stripped[-1].rstrip(slot.right)
    return tuple(part for part in stripped if part)


def _merge(segments: list[Segment]) -> list[Segment]:
    """Empty segments dropped, neighbours of one kind made one."""
    merged: list[Segment] = []
    for segment in segments:
        if segment.image is None and not segment.text:
            continue
        last = merged[-1] if merged else None
        if last and not last.image and not segment.image and _kind(last) == _kind(segment):
            merged[-1] = replace(last, text=last.text + segment.text)
        else:
            merged.append(segment)
    return merged


def _kind(segment: Segment) -> tuple[bool, bool]:
    return segment.supervised, segment.typed
