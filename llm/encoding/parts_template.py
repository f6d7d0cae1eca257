"""A chat template that takes the content of a message as a list of parts, as processors of vision models pass it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llm.encoding.chat_template import ChatTemplate, adds_bos, with_bos
from llm.encoding.message_text import text_of
from llm.encoding.rendered_text import RenderedText
from llm.errors import TemplateError
from llm.formats.conversation import ImageRef, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_IMAGE = "\ue010"  # of an image in a content on its way to the template; a private-use character


class PartsTemplate(ChatTemplate):
    """The template writes `image_token` for each image; nothing is added to the texts beside images."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", jinja: str, image_token: str) -> None:
        """Raises TemplateError when no end mark follows an answer, or the template accepts no lists of parts."""
        self.image_token = image_token
        super().__init__(tokenizer, jinja)

    def with_images(self, text: RenderedText, replacements: Sequence[str]) -> RenderedText:
        """The rendered text with each image's token replaced by what its processor writes for the image.

        Raises TemplateError when the template writes another number of images than there are.
        """
        token, typed = self.image_token, set(text.typed)
        starts = [at for at in _occurrences(text.text, token) if not _inside((at, at + len(token)), typed)]
        if len(starts) != len(replacements):
            raise TemplateError(
                f"the chat template writes {len(starts)} of {len(replacements)} images. Set data.template to another "
                "template"
            )
        expanded, done = RenderedText(""), 0
        for start, replacement in zip(starts, replacements, strict=True):
            expanded = expanded + text.part(done, start) + RenderedText(replacement)
            done = start + len(token)
        return expanded + text.part(done, len(text.text))

    def _turns(self, messages: tuple[Message, ...], plain: bool) -> tuple[Message, ...]:
        return super()._turns(messages, plain) if plain else messages

    def _content(self, turn: Message) -> str:
        return "".join(_IMAGE if isinstance(part, ImageRef) else text_of(part) for part in turn.parts)

    def _texts_of(self, turn: Message) -> Sequence[str]:
        return [part for part in turn.parts if isinstance(part, str)]

    def _message(self, role: str, content: str, plain: bool) -> dict[str, Any]:
        if plain:
            return {"role": role, "content": content.replace(_IMAGE, self.image_token)}
        parts: list[dict[str, str]] = []
        for number, text in enumerate(content.split(_IMAGE)):
            parts += [{"type": "image"}] if number else []
            parts += [{"type": "text", "text": text}] if text else []
        return {"role": role, "content": parts}


def load_parts_template(tokenizer: "PreTrainedTokenizerBase", jinja: str, image_token: str) -> PartsTemplate:
    """The template with the BOS token first, where the tokenizer adds one and the template writes none.

    Raises TemplateError as PartsTemplate.
    """
    template = PartsTemplate(tokenizer, jinja, image_token)
    bos = str(tokenizer.bos_token or "")
    if not adds_bos(tokenizer) or template.prompt((Message("user", ("x",)),)).text.startswith(bos):
        return template
    return PartsTemplate(tokenizer, with_bos(jinja, tokenizer), image_token)


def _occurrences(text: str, word: str) -> list[int]:
    found, at = [], text.find(word)
    while at >= 0:
        found.append(at)
        at = text.find(word, at + len(word))
    return found


def _inside(span: tuple[int, int], typed: set[tuple[int, int]]) -> bool:
    """Whether a span overlaps typed text."""
    return any(start < span[1] and span[0] < end for start, end in typed)
