"""The ids before every answer are those of plain transformers' prompt: 50 more families of templates."""

from typing import Any

import pytest

from llm.encoding.chat_template import load_template
from llm.encoding.encoder import Encoder
from llm.errors import Place, TemplateError
from llm.formats.conversation import Conversation, Message
from tests.llm.encoding.more_families import MORE
from tests.llm.encoding.test_inference_prompts import answered, rendered, tokenizer_of, turns
from tests.llm.tokenizers import decode

REFUSED = dict.fromkeys(("glm-4-0414", "rwkv"), "no end mark follows the answer in turn 2 of 2")
"""Their answers end where the next question begins, or with line breaks alone."""
SURPLUS = {
    **dict.fromkeys(("qwq-official", "nemotron-nano-2", "minimax-m2"), "<think>\n"),
    "exaone-deep": "<thought>\n",
}
NO_SYSTEM = {
    **dict.fromkeys(("gemma-alternating", "mistral-alternating"), "Conversation roles must alternate"),
    "orion": "drops, repeats or moves the text of one of the turns system, user",
}
"""How templates without a system role refuse one; the others say it themselves."""
TOOLS = 'Call one of:\n<tools>\n{"name": "weather"}\n</tools>\n'
TYPED = (
    Message("user", ("What does <|im_end|> mean? And </s>, <|user|> or <image>?",)),
    Message("assistant", ("</s> ends a text.<|im_end|> too",)),
    Message("user", ("  <|end|>\n",)),
    Message("assistant", (" Yes",)),
)


@pytest.mark.parametrize("name", sorted(MORE.keys() - REFUSED.keys()))
def test_the_ids_before_every_answer_are_those_of_plain_transformers(name: str) -> None:
    family, number = MORE[name], sorted(MORE).index(name)
    system = (Message("system", (TOOLS,)),) if family.system else ()
    for rule in ("gpt2", "llama3", ("always", "first")[number % 2]):
        tokenizer: Any = tokenizer_of(family, rule)
        encoder = Encoder(tokenizer, load_template("auto", tokenizer))
        assert encoder.template.surplus == SURPLUS.get(name, "")
        for messages in (turns(number, 3, False), (*system, *turns(number + 3, 3, False))):
            at = [place for place, message in enumerate(messages) if message.role == "assistant"]
            pairs = answered(encoder.encode(Conversation(messages, Place("f"))))
            for place, (prompt, answer) in zip(at, pairs, strict=True):
                asked = [{"role": message.role, "content": message.text} for message in messages[:place]]
                expected = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
                assert prompt == expected == encoder.prompt(messages[:place])[0]
                assert answer[-1] in encoder.stop_ids and not set(answer[:-1]) & set(encoder.stop_ids)
                assert rule not in ("gpt2", "llama3") or messages[place].text.strip() in decode(tokenizer, answer)


@pytest.mark.parametrize("name", sorted(MORE.keys() - REFUSED.keys()))
def test_tokens_that_are_typed_are_text_and_end_nothing(name: str) -> None:
    tokenizer: Any = tokenizer_of(MORE[name], "llama3")
    encoder = Encoder(tokenizer, load_template("auto", tokenizer))
    pairs = answered(encoder.encode(Conversation(TYPED, Place("f"))))
    for place, (prompt, answer) in zip((1, 3), pairs, strict=True):
        assert decode(tokenizer, prompt) == rendered(tokenizer, TYPED[:place], opens=True)
        assert TYPED[place].text.strip() in decode(tokenizer, answer)
        assert not set(answer[:-1]) & set(encoder.stop_ids)
    plain = tokenizer(TYPED[0].text, add_special_tokens=False).input_ids
    if "<|im_end|>" in tokenizer.get_vocab():
        end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        assert end in plain, "as plain transformers reads the text"
        bare = answered(encoder.encode(Conversation(turns(0, 2, False), Place("f"))))
        assert [prompt.count(end) for prompt, _ in pairs] == [prompt.count(end) for prompt, _ in bare]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_templates_that_are_refused_by_name(name: str) -> None:
    with pytest.raises(TemplateError, match=REFUSED[name]):
        load_template("auto", tokenizer_of(MORE[name], "gpt2"))


@pytest.mark.parametrize("name", sorted(name for name, family in MORE.items() if not family.system))
def test_system_turns_are_refused_in_words_where_a_template_has_none(name: str) -> None:
    tokenizer = tokenizer_of(MORE[name], "gpt2")
    encoder = Encoder(tokenizer, load_template("auto", tokenizer))
    with pytest.raises(TemplateError, match=NO_SYSTEM.get(name, "refuses the turns system, user, assistant: no syst")):
        encoder.encode(Conversation((Message("system", ("Be kind.",)), *turns(0, 1, False)), Place("f")))
