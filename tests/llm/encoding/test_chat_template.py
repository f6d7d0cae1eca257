"""Chat templates: the segments they are cut into, prompts, the named ones written out, and what is refused."""

import subprocess
import sys

import pytest
from transformers import PreTrainedTokenizerFast

from llm.encoding.chat_template import ChatTemplate, load_template
from llm.encoding.multimodal_template import multimodal_jinja
from llm.encoding.named_templates import JINJA
from llm.errors import ConfigError, Place, TemplateError
from llm.formats.conversation import Conversation, ImageRef, Message
from tests.llm.tokenizers import CHATML, bpe_tokenizer, chatml_tokenizers, llama_tokenizer

TOKENIZERS = chatml_tokenizers()

SYSTEM = Message("system", ("Be kind.",))
ONE = (Message("user", ("What is it?",)), Message("assistant", ("A dog.",)))
THREE = (
    Message("user", (ImageRef("a.png"), "What is in the picture?")),
    Message("assistant", (" Two  cats\n",)),
    Message("user", ("它们在做什么？",)),
    Message("assistant", ("在睡觉。",)),
    Message("user", ("Compare ", ImageRef("b.png"), "\nwith the first. ")),
    Message("assistant", ("Alike",)),
)
IMAGES = (ImageRef("a.png"), ImageRef("b.png"))
TURNS = {"one": ONE, "three": THREE, "system": (SYSTEM, *THREE)}
# The same as a tokenizer is given them.
_THREE = ["<image>\nWhat is in the picture?", " Two  cats\n", "它们在做什么？", "在睡觉。"]
_THREE += ["Compare <image>\nwith the first. ", "Alike"]
WRITTEN = {"one": ["What is it?", "A dog."], "three": _THREE, "system": ["Be kind.", *_THREE]}

SYSTEM_FIRST = "<|im_start|>system\n{}<|im_end|>\n"


def conversation(*messages: Message) -> Conversation:
    return Conversation(messages, Place("data.json", 7, "r1"))


def shown(template: ChatTemplate, record: Conversation) -> str:
    """The text up to the end mark of the last answer."""
    last = template.answers(record)[-1]
    return last.prompt.text + last.answer.text


def supervised(template: ChatTemplate, record: Conversation) -> str:
    return "".join(answer.answer.text for answer in template.answers(record))


def own(jinja: str, kind: str = "bpe") -> ChatTemplate:
    """The template of a tokenizer that carries `jinja` as its own."""
    tokenizer = bpe_tokenizer() if kind == "bpe" else llama_tokenizer()
    tokenizer.chat_template = jinja
    return load_template("auto", tokenizer)


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("name", ["auto", *JINJA])
def test_prompts_and_answers_are_the_tokenizers_own_text(kind: str, name: str) -> None:
    template = load_template(name, TOKENIZERS[kind])
    for case, turns in TURNS.items():
        record = conversation(*turns)
        messages = [{"role": turn.role, "content": text} for turn, text in zip(turns, WRITTEN[case], strict=True)]
        answers = template.answers(record)
        numbers = [number for number, turn in enumerate(turns) if turn.role == "assistant"]
        for number, answer in zip(numbers, answers, strict=True):
            asked, answered = (
                TOKENIZERS[kind].apply_chat_template(
                    messages[:count], tokenize=False, chat_template=template.jinja, add_generation_prompt=opens
                )
                for count, opens in ((number, True), (number + 1, False))
            )
            assert answer.prompt.text == asked == template.prompt(turns[:number]).text
            assert answered.startswith(asked + answer.answer.text)
            assert not answered.removeprefix(asked + answer.answer.text).strip()
            assert answer.answer.text.lstrip() == turns[number].text.lstrip() + template.stop
            assert list(answer.images) == [part for turn in turns[:number] for part in turn.parts if part in IMAGES]


TABLE = {
    "chatml": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
    "<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\nB<|im_end|>\n",
    "internlm_chat": "<|System|>:S\n<|User|>:U<eoh>\n<|Bot|>:A<eoa>\n<|User|>:V<eoh>\n<|Bot|>:B<eoa>\n",
    "llama2_chat": "[INST] <<SYS>>\nS\n<</SYS>>\n\nU [/INST]A</s>[INST] V [/INST]B</s>",
    "llama3_chat": "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nV<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nB<|eot_id|>",
    "vicuna": "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions. S USER: U ASSISTANT:A</s>USER: V ASSISTANT:B</s>",
    "mistral": "[INST] S\n\nU [/INST]A</s>[INST] V [/INST]B</s>",
    "gemma": "<start_of_turn>user\nS\n\nU<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n"
    "<start_of_turn>user\nV<end_of_turn>\n<start_of_turn>model\nB<end_of_turn>\n",
    "phi3_chat": "<|system|>\nS<|end|>\n<|user|>\nU<|end|>\n<|assistant|>\nA<|end|>\n"
    "<|user|>\nV<|end|>\n<|assistant|>\nB<|end|>\n",
    "chatglm2": "S\n\n[Round 1]\n\n问：U\n\n答：A</s>[Round 2]\n\n问：V\n\n答：B</s>",
    "chatglm3": "<|system|>\nS<|user|>\nU<|assistant|>\nA</s><|user|>\nV<|assistant|>\nB</s>",
    "baichuan2_chat": "S<reserved_106>U<reserved_107>A</s><reserved_106>V<reserved_107>B</s>",
    "deepseek_v2": "S\n\nUser: U\n\nAssistant: A</s>User: V\n\nAssistant: B</s>",
    "zephyr": "<|system|>\nS</s>\n<|user|>\nU</s>\n<|assistant|>\nA</s><|user|>\nV</s>\n<|assistant|>\nB</s>",
    "plain": "A</s>B</s>",
}
ALIASES = {"internlm2_chat": "chatml", "qwen_chat": "chatml", "smollm2": "chatml", "mixtral": "mistral"}


@pytest.mark.parametrize("name", JINJA)
def test_named_templates_by_hand(name: str) -> None:
    roles = (("system", "S"), ("user", "U"), ("assistant", "A"), ("user", "V"), ("assistant", "B"))
    record = conversation(*(Message(role, (text,)) for role, text in roles))
    template = load_template(name, TOKENIZERS["legacy"])
    # The begin token comes first, once, because this tokenizer opens every text with it.
    assert shown(template, record) == "<s>" + TABLE[ALIASES.get(name, name)].rstrip("\n")


def test_bos_is_left_out_if_the_tokenizer_adds_none() -> None:
    tokenizer = TOKENIZERS["bpe"]
    assert tokenizer.bos_token == "<|im_start|>"
    assert shown(load_template("vicuna", tokenizer), conversation(*ONE)).startswith("USER: ")


def test_a_template_with_bos_writes_it_once() -> None:
    jinja = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}"
    template = own(jinja, "llama")
    assert shown(template, conversation(*ONE)) == "<s>[user]What is it?</s>[assistant]A dog.</s>"


def test_plain_text_is_plain_under_every_template() -> None:
    record = conversation(Message("assistant", ("Once upon a time.",)))
    for name in ("auto", *JINJA):
        template = load_template(name, TOKENIZERS["legacy"])
        assert shown(template, record) == "<s>Once upon a time.</s>"
        assert supervised(template, record) == "Once upon a time.</s>"
        assert template.prompt(()).text == "<s>"


def test_plain_reduces_questions_to_their_images() -> None:
    asked = Message("user", (ImageRef("a"), "\nDescribe ", ImageRef("b"), "\n"))
    record = conversation(SYSTEM, asked, Message("assistant", ("a red square",)))
    template = load_template("plain", TOKENIZERS["bpe"])
    assert shown(template, record) == "<image><image>a red square<|im_end|>"
    assert supervised(template, record) == "a red square<|im_end|>"


def test_a_saved_plain_template_is_recognised() -> None:
    tokenizer = llama_tokenizer()
    for jinja in (load_template("plain", tokenizer).jinja, multimodal_jinja(load_template("plain", tokenizer).jinja)):
        tokenizer.chat_template = jinja
        record = conversation(Message("user", (ImageRef("a"), "What?")), Message("assistant", ("a cat",)))
        assert shown(load_template("auto", tokenizer), record) == "<s><image>a cat</s>"


def test_an_answer_without_loss_is_context_with_its_end_mark() -> None:
    turns = (THREE[0], Message("assistant", ("wrong",), loss=False), *THREE[2:4])
    record = conversation(*turns)
    assert supervised(own(CHATML), record) == "在睡觉。<|im_end|>"
    assert shown(own(CHATML), record).count("wrong<|im_end|>") == 1


def test_an_image_is_followed_by_one_line_break() -> None:
    image, answer = ImageRef("a"), Message("assistant", ("A",))
    texts = [
        shown(own(CHATML), conversation(Message("user", parts), answer))
        for parts in ((image, "Q"), (image, "\nQ"), (image, "\n", "Q"))
    ]
    assert texts == ["<|im_start|>user\n<image>\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>"] * 3


TRIMMING = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}"
    "{% if m.role == 'user' %}{{ m.content | trim }}{% else %}{{ m.content.lstrip('\\n') }}{% endif %}"
    "{{ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def test_what_a_template_strips_is_stripped_from_the_segments() -> None:
    turns = (Message("user", ("\n What? \u3000\n",)), Message("assistant", ("\n\n It is. \n",)))
    record = conversation(*turns)
    template = own(TRIMMING)
    assert supervised(template, record) == " It is. \n<|im_end|>"
    assert "user\nWhat?<|im_end|>" in shown(template, record)
    image_last = conversation(Message("user", (" look ", ImageRef("a"))), Message("assistant", ("ok",)))
    assert "user\nlook <image><|im_end|>" in shown(template, image_last)


def test_a_template_with_a_default_system_prompt() -> None:
    jinja = "{% if messages[0].role != 'system' %}" + SYSTEM_FIRST.format("You are Smol") + "{% endif %}" + CHATML
    template = own(jinja)
    for turns in TURNS.values():
        assert supervised(template, conversation(*turns)).count(template.stop) == len(
            template.answers(conversation(*turns))
        )
    assert shown(template, conversation(*ONE)).startswith(SYSTEM_FIRST.format("You are Smol"))


def test_the_end_mark_ends_at_the_first_special_token() -> None:
    template = own(
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }} "
        "{{ eos_token }}{% endif %}{% endfor %}",
        "llama",
    )
    assert supervised(template, conversation(*ONE)) == " A dog. </s>"
    assert template.stop == "</s>"


STRIPS_THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + (m.content.split('</think>')[-1] if m.role == "
    "'assistant' else m.content) + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def test_thoughts_that_a_template_never_renders_are_learnt_all_the_same() -> None:
    template = own(STRIPS_THINKING)
    asked = (ONE[0], Message("assistant", ("<think>hm</think>A dog.",)))
    assert supervised(template, conversation(*asked)) == "<think>hm</think>A dog.<|im_end|>"
    later = template.answers(conversation(*asked, *ONE))[1]
    assert "assistant\nA dog.<|im_end|>" in later.prompt.text  # as inference has it


@pytest.mark.parametrize(
    ("change", "has", "writes"),
    [
        ("m.content | upper", "'What is it?'", "WHAT IS IT?"),
        ("m.content | replace('dog', 'cat')", "'A dog.'", "A cat."),
        ("m.content[:3]", "'What is it?'", "Wha<|im_end|>"),
    ],
)
def test_a_template_that_changes_texts_raises_with_the_record_and_the_difference(
    change: str, has: str, writes: str
) -> None:
    template = own(CHATML.replace("message['content']", change.replace("m.", "message.")))
    with pytest.raises(TemplateError, match=r"data.json:7 \(record r1\)") as error:
        template.answers(conversation(*ONE))
    ours, theirs = str(error.value).split("the template writes")
    assert f"it has {has}" in ours and writes in theirs


NO_END = "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}"
END_AT_THE_END = (
    "{% for m in messages %}{{ m.role + ': ' + m.content }}{% if loop.last and m.role == 'assistant' %}{{ eos_token }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


def test_a_template_without_an_end_mark_raises_and_suggests_templates_that_fit() -> None:
    with pytest.raises(TemplateError, match="no end mark follows the answer in turn 2 of 2") as error:
        own(NO_END)
    assert "chatml" in str(error.value) and "vicuna" in str(error.value)
    assert "llama3_chat" not in str(error.value)  # this tokenizer has no <|eot_id|>


def test_an_answer_ends_as_the_last_turn_does() -> None:
    """Where a template writes the end mark only at the end, earlier answers have it as well, and later prompts not."""
    template = own(END_AT_THE_END)
    assert supervised(template, conversation(*THREE)) == " Two  cats\n<|im_end|>在睡觉。<|im_end|>Alike<|im_end|>"
    assert "<|im_end|>" not in template.answers(conversation(*THREE))[2].prompt.text


@pytest.mark.parametrize(
    ("jinja", "message"),
    [
        ("{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML, "no system"),
        ("{% for message in messages if message.role != 'system' %}" + CHATML.partition("%}")[2], "drops"),
        ("{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}" + CHATML, "repeats"),
    ],
)
def test_a_template_that_refuses_drops_or_repeats_a_turn_raises(jinja: str, message: str) -> None:
    with pytest.raises(TemplateError, match=f"data.json:7 .record r1.: .*{message}"):
        own(jinja).answers(conversation(SYSTEM, *ONE))


def test_a_template_for_content_lists_raises() -> None:
    with pytest.raises(TemplateError, match="drops"):
        own("{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{{ eos_token }}{% endfor %}")


def test_missing_and_unknown_templates() -> None:
    bare = llama_tokenizer()
    with pytest.raises(TemplateError, match="the tokenizer has no chat template"):
        load_template("auto", bare)
    with pytest.raises(ConfigError, match="did you mean vicuna"):
        load_template("vicunna", bare)
    with pytest.raises(ConfigError, match="known: auto, chatml"):
        load_template("???", bare)
    with pytest.raises(TemplateError, match="no end mark follows the answer"):
        load_template("llama3_chat", bare)


def render_list(tokenizer: PreTrainedTokenizerFast, jinja: str, content: object) -> str:
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "A"}]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, chat_template=jinja))


@pytest.mark.parametrize("name", ["auto", *JINJA])
def test_a_multimodal_template_renders_lists_as_training_renders_parts(name: str) -> None:
    tokenizer = TOKENIZERS["legacy"]
    template = load_template(name, tokenizer)
    jinja = multimodal_jinja(template.jinja)
    image, text = {"type": "image"}, {"type": "text", "text": "What?"}
    cases: list[tuple[object, Message]] = [
        ("What?", Message("user", ("What?",))),
        ([text], Message("user", ("What?",))),
        ([image, text], Message("user", (ImageRef("a"), "What?"))),
        ([image, {"type": "text", "text": "\nWhat?"}], Message("user", (ImageRef("a"), "\nWhat?"))),
        ([text, image, image, text], Message("user", ("What?", ImageRef("a"), ImageRef("b"), "What?"))),
    ]
    for content, message in cases:
        record = conversation(message, Message("assistant", ("A",)))
        assert render_list(tokenizer, jinja, content).rstrip("\n") == shown(template, record)
    assert ("<image>\nWhat?" in render_list(tokenizer, jinja, [image, text])) == (name != "plain")


def test_a_multimodal_template_is_wrapped_once_and_knows_two_kinds_of_part() -> None:
    from jinja2.exceptions import TemplateError as JinjaError

    jinja = multimodal_jinja(CHATML)
    assert multimodal_jinja(jinja) == jinja
    assert render_list(TOKENIZERS["bpe"], multimodal_jinja("\n" + CHATML), "Q").startswith("\n<|im_start|>")
    with pytest.raises(JinjaError, match="video"):
        render_list(TOKENIZERS["bpe"], jinja, [{"type": "video"}])


def test_templates_are_read_without_torch() -> None:
    code = (
        "import sys, llm.encoding.chat_template; sys.exit(bool({'torch', 'transformers', 'jinja2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
