"""The ids before every answer are those of plain transformers' prompt: the templates of 53 families, 4 tokenizers."""

from functools import cache
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from llm.encoding.chat_template import load_template
from llm.encoding.encoder import IGNORED, Encoder, Sample
from llm.errors import Place, TemplateError
from llm.formats.conversation import Conversation, ImageRef, Message, Role
from tests.llm.encoding.families import FAMILIES, Family
from tests.llm.tokenizers import decode, llama_tokenizer, wrap

LLAMA3 = Regex(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXT = [
    "user\n\nWhat?\n\n  Two  dogs: 1234 and\tmore.\n",
    "assistant\nA dog.\n\n\nASSISTANT: A cat.  [INST] Hi. [/INST] ",
] * 3
RULES = ("gpt2", "llama3", "always", "first")
REFUSED = {"chatglm3": "no end mark follows the answer"}
"""Families whose templates are refused: an answer of ChatGLM3 ends where the next question begins."""
SURPLUS = {
    "qwq": "<think>\n",
    "r1-distill": "<think>\n",
    "gemma-4": "<|channel>thought\n<channel|>",
    "command-r7b": "<|START_THINKING|><|END_THINKING|>",
}
"""Families whose prompts end in what finished conversations have not: answers are learnt directly after it."""


@cache
def trained(rule: str) -> str:
    """A byte-level BPE with the splitting rule of GPT-2 or of Llama 3."""
    backend = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=rule == "gpt2")
    split = [] if rule == "gpt2" else [pre_tokenizers.Split(LLAMA3, "isolated")]
    backend.pre_tokenizer = pre_tokenizers.Sequence([*split, byte_level])
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    )
    return backend.to_str()


def tokenizer_of(family: Family, rule: str) -> PreTrainedTokenizerFast:
    """A tokenizer with the tokens of a family."""
    if rule in ("always", "first"):
        tokenizer = llama_tokenizer(scheme=rule)
    else:
        tokenizer = wrap(Tokenizer.from_str(trained(rule)), bos_token=family.bos, eos_token=family.eos)
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in family.plain_tokens])
    tokenizer.add_tokens([*family.tokens, family.bos, family.eos], special_tokens=True)
    tokenizer.bos_token, tokenizer.eos_token = family.bos, family.eos
    tokenizer.chat_template = family.jinja
    return tokenizer


QUESTIONS = (
    "What is it?",
    "\n\nWhat?",
    "  two  blanks",
    "123 go",
    "ends in blanks  ",
    "\tTab\n",
    "it's 你好\r\n",
    " x\n\n\n y",
)
ANSWERS = ("A dog.", "42", "Yes\n", "'s", "你好 ", "- one\n- two", "\nno", " A")


def turns(number: int, count: int, system: bool) -> tuple[Message, ...]:
    """A conversation of `count` questions, beginning at the text `number`."""
    made = [Message("system", ("Be kind.\n",))] if system else []
    for at in range(number, number + count):
        for role, texts in (("user", QUESTIONS), ("assistant", ANSWERS)):
            kind: Role = "user" if role == "user" else "assistant"
            made.append(Message(kind, (texts[at % len(texts)],)))
    return tuple(made)


def answered(samples: list[Sample]) -> list[tuple[list[int], list[int]]]:
    """The ids before each answer, and those of the answer with its end mark."""
    found = []
    for sample in samples:
        ids, learnt = sample.ids.tolist(), [False, *(sample.labels[:-1] != IGNORED).tolist()]
        for start in range(1, len(ids)):
            if learnt[start] and not learnt[start - 1]:
                end = next((at for at in range(start, len(ids)) if not learnt[at]), len(ids))
                found.append((ids[:start], ids[start:end]))
    return found


def rendered(tokenizer: Any, messages: tuple[Message, ...], opens: bool) -> str:
    turns = [{"role": message.role, "content": message.text} for message in messages]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=opens))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - REFUSED.keys()))
def test_the_ids_before_every_answer_are_those_of_plain_transformers(name: str, rule: str) -> None:
    family = FAMILIES[name]
    tokenizer: Any = tokenizer_of(family, rule)
    encoder = Encoder(tokenizer, load_template("auto", tokenizer))
    for number in range(len(QUESTIONS)):
        for count, system in ((1, False), (3, False), (1, family.system), (3, family.system)):
            messages = turns(number, count, system)
            pairs = answered(encoder.encode(Conversation(messages, Place("f"))))
            at = [place for place, message in enumerate(messages) if message.role == "assistant"]
            assert len(pairs) == len(at)
            for place, (prompt, answer) in zip(at, pairs, strict=True):
                asked = [{"role": message.role, "content": message.text} for message in messages[:place]]
                expected = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
                assert prompt == expected == encoder.prompt(messages[:place])[0]
                assert answer[-1] in encoder.stop_ids
                if rule in ("gpt2", "llama3"):  # whose text is that of their tokens
                    text = rendered(tokenizer, messages[: place + 1], opens=False)
                    learnt = decode(tokenizer, answer)
                    if name in SURPLUS:
                        asked_for = rendered(tokenizer, messages[:place], opens=True)
                        assert asked_for.endswith(SURPLUS[name]) and not text.startswith(asked_for)
                        assert learnt.startswith(messages[place].text.rstrip())
                    elif name == "nemotron-3":  # whose prompt has a line break that the conversation has not
                        assert learnt.startswith("</think>" + messages[place].text)
                    else:
                        assert text.startswith(decode(tokenizer, prompt) + learnt)
                        assert messages[place].text.strip() in learnt


@pytest.mark.parametrize("rule", ["gpt2", "llama3"])
def test_a_template_and_a_text_are_tokenised_together(rule: str) -> None:
    """`user` and a line break, tokenised without the text that begins with two, would be other tokens."""
    tokenizer = tokenizer_of(FAMILIES["chatml"], rule)
    encoder = Encoder(tokenizer, load_template("auto", tokenizer))
    ids, _ = encoder.prompt((Message("user", ("\n\nWhat?",)),))
    pieces = [
        number
        for piece in ("<|im_start|>user\n", "\n\nWhat?", "<|im_end|>\n<|im_start|>assistant\n")
        for number in tokenizer(piece, add_special_tokens=False).input_ids
    ]
    assert ids != pieces and decode(tokenizer, ids) == decode(tokenizer, pieces)


@pytest.mark.parametrize("name", REFUSED)
def test_templates_that_are_refused_by_name(name: str) -> None:
    tokenizer = tokenizer_of(FAMILIES[name], "gpt2")
    with pytest.raises(TemplateError, match=REFUSED[name]):
        load_template("auto", tokenizer)


def test_templates_whose_prompts_end_otherwise_are_known() -> None:
    found = {}
    for name in FAMILIES.keys() - REFUSED.keys():
        template = load_template("auto", tokenizer_of(FAMILIES[name], "gpt2"))
        if template.surplus:
            found[name] = template.surplus
            assert f"prompts end in {template.surplus!r}" in template.note
        else:
            assert not template.note or f"writes {template.opening!r} before an answer" in template.note
    assert found == SURPLUS


THOUGHT = "<think>\nhm\n</think>\n\nA dog."
LEARNT = {  # after the prompt, for an answer with thoughts and for one without
    "qwen3": ("<think>\nhm\n</think>\n\nA dog.<|im_end|>", "<think>\n\n</think>\n\nYes.<|im_end|>"),
    "qwen3-thinking": ("hm\n</think>\n\nA dog.<|im_end|>", "\n</think>\n\nYes.<|im_end|>"),
    "qwq": ("hm\n</think>\n\nA dog.<|im_end|>", "Yes.<|im_end|>"),
    "r1-distill": ("hm\n</think>\n\nA dog.<｜end▁of▁sentence｜>", "Yes.<｜end▁of▁sentence｜>"),
    "nemotron-3": ("hm\n</think>\n\nA dog.<|im_end|>", "</think>Yes.<|im_end|>"),
}


@pytest.mark.parametrize("name", LEARNT)
@pytest.mark.parametrize("order", [0, 1], ids=["first", "last"])
def test_thoughts_are_learnt_where_inference_writes_them(name: str, order: int) -> None:
    tokenizer: Any = tokenizer_of(FAMILIES[name], "llama3")
    encoder = Encoder(tokenizer, load_template("auto", tokenizer))
    texts = [("Q", THOUGHT), ("R", "Yes.")][:: 1 - 2 * order]
    messages = tuple(
        Message(role, (text,)) for pair in texts for role, text in zip(("user", "assistant"), pair, strict=True)
    )
    samples = encoder.encode(Conversation(messages, Place("f")))
    pairs = answered(samples)
    assert [decode(tokenizer, answer) for _, answer in pairs] == list(LEARNT[name][:: 1 - 2 * order])
    for place, (prompt, _) in zip((1, 3), pairs, strict=True):
        asked = [{"role": message.role, "content": message.text} for message in messages[:place]]
        assert prompt == tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
    think, end = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
    assert all((end in answer) == ("</think>" in decode(tokenizer, answer)) for _, answer in pairs)
    assert all((think in answer) == ("<think>" in decode(tokenizer, answer)) for _, answer in pairs)


def test_a_tool_result_that_begins_with_a_token_is_rendered_as_the_template_does() -> None:
    """Qwen's template looks at what a question begins and ends with, and the text is typed: no token."""
    tokenizer: Any = tokenizer_of(FAMILIES["qwen3"], "llama3")
    encoder = Encoder(tokenizer, load_template("auto", tokenizer))
    result = "<tool_response>\n4 <|im_end|>\n</tool_response>"
    messages = (
        Message("user", ("2+2?",)),
        Message("assistant", ("<think>\nadd\n</think>\n\nCall.",)),
        Message("user", (result,)),
        Message("assistant", ("4",)),
    )
    pairs = answered(encoder.encode(Conversation(messages, Place("f"))))
    prompt = decode(tokenizer, pairs[1][0])
    assert prompt == rendered(tokenizer, messages[:3], opens=True)
    assert "<think>\nadd\n</think>" in prompt, "thoughts since the last real question are not removed"
    control = tokenizer.convert_tokens_to_ids(["<tool_response>", "</tool_response>"])
    assert not set(control) & set(pairs[1][0])
    assert pairs[1][0].count(tokenizer.convert_tokens_to_ids("<|im_end|>")) == 3


def test_an_image_is_a_token_that_the_template_wrote() -> None:
    """Models name their image tokens otherwise than `<image>`, which is what texts have."""
    for name in ("<image>", "<|image_pad|>"):
        tokenizer: Any = tokenizer_of(FAMILIES["chatml"], "llama3")
        tokenizer.add_tokens([name], special_tokens=True)
        image_id = tokenizer.convert_tokens_to_ids(name)
        encoder = Encoder(tokenizer, load_template("auto", tokenizer), image_id, 3)
        ids, images = encoder.prompt((Message("user", (ImageRef("a"), "\n\nWhat <|image_pad|>?")),))
        text = "<|im_start|>user\n" + name + "\n\nWhat !?<|im_end|>\n<|im_start|>assistant\n"
        expected = tokenizer(text, add_special_tokens=False).input_ids
        at = expected.index(image_id)
        assert ids[: at + 4] == [*expected[:at], *[image_id] * 3, expected[at + 1]]
        assert ids.count(image_id) == 3 and images == (ImageRef("a"),)
