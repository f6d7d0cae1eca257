"""Whether plain transformers makes the prompts of training from the template and tokenizer that an export saves."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

from transformers import PreTrainedTokenizerBase

from llm.encoding.chat_template import load_template
from llm.encoding.encoder import Encoder
from llm.encoding.template_sandbox import RefusedError, render
from llm.errors import TemplateError
from llm.formats.conversation import Message, Role
from llm.log import logger
from llm.model.hf_export import reload_tokenizer

CHATS: tuple[tuple[tuple[Role, str], ...], ...] = (
    (("user", "Who are you?"),),
    (("system", "Be brief."), ("user", "Hi there")),
    (("user", "What is 12 + 34?"), ("assistant", "46."), ("user", "And 1 + 1?")),
)
SHOWN = 40  # characters of a prompt's end in the message


def warn_of_other_prompts(encoder: Encoder, folder: Path, name: str) -> list[str]:
    """Log, for the export `name` whose files are in `folder`, the chats whose prompts elsewhere are other ids.

    Returns the roles of these chats. Answers to them may differ from those of the run. A template that refuses a chat,
    as some refuse system turns, is compared on the others.
    """
    if encoder.template.plain:
        return []
    tokenizer = reload_tokenizer(folder)
    found = [roles for chat in CHATS if (roles := _difference(encoder, tokenizer, chat))]
    for line in found:
        logger.warning(f"{name}: {line}")
    return found


def note_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """How answers begin by the tokenizer's own chat template, where that has to be known; empty without a template."""
    try:
        return load_template("auto", tokenizer).note
    except TemplateError:
        return ""


def _difference(encoder: Encoder, tokenizer: PreTrainedTokenizerBase, chat: tuple[tuple[Role, str], ...]) -> str:
    """What differs for one chat; empty when the ids are equal or the template refuses the chat."""
    turns = [{"role": role, "content": text} for role, text in chat]
    try:
        render(str(tokenizer.chat_template), turns, {**tokenizer.special_tokens_map, "add_generation_prompt": True})
        ours = encoder.prompt(tuple(Message(role, (text,)) for role, text in chat))[0]
    except (RefusedError, TemplateError):
        return ""
    apply = cast(Callable[..., list[int]], tokenizer.apply_chat_template)
    theirs = apply(turns, add_generation_prompt=True, tokenize=True, return_dict=False)
    if list(ours) == list(theirs):
        return ""
    ends = [str(tokenizer.decode(ids))[-SHOWN:] for ids in (theirs, ours)]
    return (
        f"plain transformers makes another prompt of the turns {', '.join(role for role, _ in chat)} than this run: it "
        f"ends in {ends[0]!r}, the run's in {ends[1]!r}. Answers elsewhere may differ; another data.template avoids it"
    )
