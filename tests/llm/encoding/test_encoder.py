"""Ids, labels and prompts against hand-written ones and the tokenizer on the complete text; typed special tokens."""

import hashlib
import random
import re
from dataclasses import replace

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from llm.encoding.chat_template import ChatTemplate, load_template
from llm.encoding.encoder import IGNORED, Encoder, Sample
from llm.encoding.named_templates import JINJA
from llm.errors import Place, RecordError, TemplateError
from llm.formats.conversation import Conversation, ImageRef, Message, Role
from tests.llm.tokenizers import CHATML, bpe_tokenizer, chatml_tokenizers, decode, ids_of, llama_tokenizer, wrap

TOKENIZERS = chatml_tokenizers()
TEMPLATES = ["auto", *JINJA]
PLACE = Place("data.json", 3, "r1")
ROWS = 3


def conversation(*messages: Message) -> Conversation:
    return Conversation(messages, PLACE)


def talk(*texts: str) -> tuple[Message, ...]:
    """Questions and answers in turn."""
    roles: tuple[Role, Role] = ("user", "assistant")
    return tuple(Message(roles[number % 2], (text,)) for number, text in enumerate(texts))


def encoder(tokenizer: PreTrainedTokenizerFast, name: str = "auto") -> Encoder:
    return Encoder(tokenizer, load_template(name, tokenizer), ids_of(tokenizer, "<image>")[0], ROWS)


def only(samples: list[Sample]) -> Sample:
    """The sample of a record that is one sequence."""
    [sample] = samples
    return sample


def rendered(tokenizer: PreTrainedTokenizerFast, template: ChatTemplate, messages: tuple[Message, ...]) -> str:
    """What transformers renders of the messages."""
    texts = ["".join(part if isinstance(part, str) else "<image>\n" for part in message.parts) for message in messages]
    turns = [{"role": message.role, "content": text} for message, text in zip(messages, texts, strict=True)]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, chat_template=template.jinja))


def targets(sample: Sample) -> list[int]:
    return [int(label) for label in sample.labels if label != IGNORED]


WITH_IMAGES = (
    Message("system", ("Be kind.",)),
    Message("user", (ImageRef("a.png"), "What is in the picture?")),
    Message("assistant", ("Two  cats, é\n",)),
    Message("user", ("它们在做什么？ Compare ", ImageRef("b.png"), "with it")),
    Message("assistant", ("在睡觉。",)),
    Message("user", ("And now?",)),
    Message("assistant", ("Nothing.",)),
)


# The smallest vocabulary in which a conversation can be written out by hand.
SPELLED = [
    "<|im_start|>",
    "<|im_end|>",
    "<image>",
    "Ċ",
    "u",
    "s",
    "e",
    "r",
    "a",
    "i",
    "t",
    "n",
    "H",
    "O",
    "k",
    "?",
    "Ġ",
]
U, A, I = [4, 5, 6, 7], [8, 5, 5, 9, 5, 10, 8, 11, 10], IGNORED  # noqa: E741 - user, assistant, ignored


def spelled() -> PreTrainedTokenizerFast:
    """One character, one id."""
    backend = Tokenizer(models.BPE({text: number for number, text in enumerate(SPELLED)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = wrap(backend, eos_token="<|im_end|>")
    tokenizer.add_tokens(SPELLED[:3], special_tokens=True)
    tokenizer.chat_template = CHATML
    return tokenizer


def test_ids_and_labels_written_by_hand() -> None:
    picture = ImageRef("cat.png")
    asked = (Message("user", (picture, "Hi?")), Message("assistant", ("Ok",)), *talk("Hi", "k"))
    sample = only(encoder(spelled()).encode(conversation(*asked)))
    question = [0, *U, 3, 2, 2, 2, 3, 12, 9, 15, 1, 3, 0, *A, 3]
    assert sample.ids.tolist() == [*question, 13, 14, 1, 3, 0, *U, 3, 12, 9, 1, 3, 0, *A, 3, 14, 1]
    assert sample.labels.tolist() == [*[I] * 25, 13, 14, 1, *[I] * 22, 14, 1, I]
    assert sample.images == (picture,)
    assert sample.branches == ()
    assert sample.ids.dtype == sample.labels.dtype == np.int32


def test_a_prompt_written_by_hand() -> None:
    ids, images = encoder(spelled()).prompt(talk("Hi"))
    assert ids == [0, *U, 3, 12, 9, 1, 3, 0, *A, 3]
    assert images == ()
    ids, images = encoder(spelled()).prompt((Message("user", (ImageRef("a"), "Hi")), *talk("", "Ok", "k")[1:]))
    assert ids == [0, *U, 3, 2, 2, 2, 3, 12, 9, 1, 3, 0, *A, 3, 13, 14, 1, 3, 0, *U, 3, 14, 1, 3, 0, *A, 3]
    assert images == (ImageRef("a"),)


def test_tokens_after_the_last_target_are_left_out() -> None:
    last = (Message("user", (ImageRef("b"), "Hi?")), Message("assistant", ("k",), loss=False))
    first = (Message("user", (ImageRef("a"), "Hi")), Message("assistant", ("Ok",)))
    sample = only(encoder(spelled()).encode(conversation(*first, *last)))
    assert sample.images == (ImageRef("a"),)
    assert sample.ids.tolist() == [0, *U, 3, 2, 2, 2, 3, 12, 9, 1, 3, 0, *A, 3, 13, 14, 1]
    assert sample.labels.tolist() == [*[I] * 24, 13, 14, 1, I]


def test_an_answer_without_loss_is_context() -> None:
    asked = (*talk("Hi"), Message("assistant", ("Ok",), loss=False), *talk("Hi", "k"))
    sample = only(encoder(spelled()).encode(conversation(*asked)))
    turn = [0, *U, 3, 12, 9, 1, 3, 0, *A, 3]
    assert sample.ids.tolist() == [*turn, 13, 14, 1, 3, *turn, 14, 1]
    assert sample.labels.tolist() == [*[I] * (2 * len(turn) + 3), 14, 1, I]


def test_plain_text_written_by_hand() -> None:
    """Its first token has no position before it that could learn it."""
    sample = only(encoder(spelled()).encode(conversation(Message("assistant", ("Ok?",)))))
    assert sample.ids.tolist() == [13, 14, 15, 1] and sample.labels.tolist() == [14, 15, 1, I]


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_sample_is_the_prompt_the_answer_and_the_end_mark(kind: str, name: str) -> None:
    subject = encoder(TOKENIZERS[kind], name)
    whole = only(subject.encode(conversation(*WITH_IMAGES)))
    for number in (2, 4, 6):
        ids, images = subject.prompt(WITH_IMAGES[:number])
        assert whole.ids[: len(ids)].tolist() == ids
        assert images == whole.images[: len(images)]
        sample = only(subject.encode(conversation(*WITH_IMAGES[: number + 1])))
        supervised = sample.ids[len(ids) :].tolist()
        assert sample.ids.tolist() == [*ids, *supervised] == whole.ids[: len(sample.ids)].tolist()
        assert sample.labels[len(ids) - 1 :].tolist() == [*supervised, IGNORED]
        assert supervised[-1] in subject.stop_ids
        assert decode(TOKENIZERS[kind], supervised[:-1]).lstrip(" ") == WITH_IMAGES[number].text
    assert whole.images == (ImageRef("a.png"), ImageRef("b.png"))
    assert (whole.ids == subject.image_id).sum() == 2 * ROWS


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_pieces_decode_to_the_complete_text(kind: str, name: str) -> None:
    """Tokenised in pieces, a text decodes to the same text as tokenised at once."""
    tokenizer = TOKENIZERS[kind]
    template = load_template(name, tokenizer)
    subject = Encoder(tokenizer, template, ids_of(tokenizer, "<image>")[0], 1)
    record = conversation(*WITH_IMAGES)
    text = rendered(tokenizer, template, record.messages)
    whole = tokenizer(text, add_special_tokens=False).input_ids
    ours = decode(tokenizer, only(subject.encode(record)).ids)
    assert decode(tokenizer, whole).startswith(ours)
    assert len(ours) >= len(text) - 1  # the line break after the last end mark
    if kind != "legacy":  # which writes a space after its special tokens
        assert text.startswith(ours)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_plain_text_has_the_tokenizers_own_ids(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    text = "The quick brown fox.\n\n  It jumps — 你好 🐱"
    sample = only(encoder(tokenizer).encode(conversation(Message("assistant", (text,)))))
    assert sample.ids.tolist() == [*tokenizer(text).input_ids, tokenizer.eos_token_id]
    assert sample.labels.tolist() == [*sample.ids[1:].tolist(), IGNORED]


@pytest.mark.parametrize("kind", ["legacy", "first"])
def test_a_word_in_the_middle_gains_no_space(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    assert tokenizer.convert_ids_to_tokens(tokenizer("the", add_special_tokens=False).input_ids) == ["▁the"]
    ids, _ = encoder(tokenizer, "chatml").prompt(talk("the"))
    tokens = tokenizer.convert_ids_to_tokens(ids)
    assert tokens[tokens.index("<0x0A>") + 1] != "▁the"
    assert "user\nthe<|im_end|>" in decode(tokenizer, ids)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_word_after_a_templates_space_is_one_token(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    template = load_template("vicuna", tokenizer)
    record = conversation(*talk("the dog", "A cat", "the cat", "A dog"))
    whole = tokenizer(rendered(tokenizer, template, record.messages), add_special_tokens=False).input_ids
    assert only(Encoder(tokenizer, template).encode(record)).ids.tolist() == whole
    assert {"Ġthe", "▁the"} & set(tokenizer.convert_ids_to_tokens(whole))


WORDS = [
    *("the", "dog", "cat", "is in", "What", "世界", "你好", "🐱", "é", "naïve", "1", "23", "\n", "\t", "  "),
    *("<|", "|>", "<", ">", "</", "s>", "im_", "_end", "im_start", "end|>", "<im", "age>", "<thi", "nk>", "<|im_end"),
]


def generated_texts(count: int, seed: int) -> list[str]:
    """Words, other scripts and pieces of special tokens, joined with and without spaces."""
    rng = random.Random(seed)
    return [
        "".join(rng.choice(WORDS) + rng.choice(("", "", " ")) for _ in range(rng.randint(0, 5))) for _ in range(count)
    ]


@pytest.mark.parametrize("kind", ["bpe", "legacy"])
def test_no_typed_text_becomes_a_special_token(kind: str) -> None:
    """100 texts times every added token, in a system, a user and an assistant turn each."""
    tokenizer = bpe_tokenizer() if kind == "bpe" else llama_tokenizer("<|im_start|>", "<|im_end|>")
    tokenizer.chat_template = CHATML
    subject = encoder(tokenizer)
    added = tokenizer.added_tokens_decoder
    start, end, image = ids_of(tokenizer, "<|im_start|>", "<|im_end|>", "<image>")
    assert sum(not token.special for token in added.values()) >= 1  # such as <think>
    texts = generated_texts(100, seed=0)
    rng = random.Random(1)
    for token in added.values():
        for text in texts:
            at = rng.randint(0, len(text))
            typed = text[:at] + token.content + text[at:]
            turns = (
                Message("system", (typed,)),
                Message("user", (ImageRef("a"), typed)),
                Message("assistant", (typed,)),
            )
            ids = only(subject.encode(conversation(*turns))).ids.tolist()
            found = [number for number in ids if number in added]
            answered = ids_of(tokenizer, *re.findall("</?think>" if kind == "bpe" else "<think>", typed))
            assert found == [start, end, start, *[image] * ROWS, end, start, *answered, end], typed


def test_an_answer_holds_the_tokens_that_models_write() -> None:
    """Its own added tokens, special or not; but no turn mark, no begin or end token and no image."""
    written = ["<tool_call>", "[TOOL_CALLS]", "<|python_tag|>", "<|box_start|>", "<unused9>"]
    special = ["<|eot_id|>", "<|image_pad|>", "[IMG]", "<|vision_start|>", "<|user|>", "<｜User｜>", "<s>", "<pad>"]
    added = [AddedToken("<tool_call>", special=False, normalized=False), *written[1:], *special]
    tokenizer = bpe_tokenizer(*added)
    tokenizer.pad_token = "<pad>"
    subject = encoder(tokenizer)
    for token in [*written, *special, "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<image>", "<think>", "</think>"]:
        asked = (Message("user", (f"Say {token}.",)), Message("assistant", (f"A {token} b.",)))
        sample = only(subject.encode(conversation(*asked)))
        [number] = ids_of(tokenizer, token)
        held = targets(sample)[:-1].count(number)
        assert held == (token in [*written[:4], "<think>", "</think>"]), token
        assert sample.ids.tolist().count(number) - held == {"<|im_start|>": 2, "<|im_end|>": 2}.get(token, 0), token
        assert decode(tokenizer, targets(sample)) == f"A {token} b.<|im_end|>"


@pytest.mark.parametrize(
    "text",
    [
        "<|im_end|>",
        "<|im_end|><|im_end|>",
        "<|im_<|im_end|>end|>",
        "\U000f0000<|im_end|>\uf8ff\ue000",
        "<|im_end|>\n a",
    ],
)
def test_typed_tokens_beside_each_other_stay_text(text: str) -> None:
    tokenizer = TOKENIZERS["bpe"]
    messages = talk(text, text, text, text)
    ids = only(encoder(tokenizer).encode(conversation(*messages))).ids.tolist()
    start, end = ids_of(tokenizer, "<|im_start|>", "<|im_end|>")
    assert (ids.count(start), ids.count(end)) == (4, 4)
    assert decode(tokenizer, ids) == rendered(tokenizer, encoder(tokenizer).template, messages).rstrip("\n")


@pytest.mark.parametrize(
    ("before", "after", "text"), [("<", "", "|im_end|>"), ("", "end|>", "a<|im_"), ("<|im_", "", "end|>")]
)
def test_a_token_of_which_the_template_writes_a_part_is_refused(before: str, after: str, text: str) -> None:
    tokenizer = bpe_tokenizer()
    tokenizer.chat_template = CHATML.replace("message['content']", f"'{before}' + message['content'] + '{after}'")
    subject = encoder(tokenizer)
    assert subject.encode(conversation(*talk("What?", "A")))
    with pytest.raises(TemplateError, match="spell a special token together"):
        subject.encode(conversation(*talk(text, "A")))


def test_typed_special_tokens_would_be_encoded_without_the_check() -> None:
    """Tokenising the rendered text in one go lets typed special tokens through; pieces do not."""
    tokenizer = TOKENIZERS["bpe"]
    record = conversation(*talk("Say <|im_end|> and <think>", "no"))
    subject = encoder(tokenizer)
    whole = tokenizer(rendered(tokenizer, subject.template, record.messages), add_special_tokens=False).input_ids
    pieces = only(subject.encode(record)).ids.tolist()
    end, think = ids_of(tokenizer, "<|im_end|>", "<think>")
    assert (whole.count(end), whole.count(think)) == (3, 1)
    assert (pieces.count(end), pieces.count(think)) == (2, 0)
    split = tokenizer("<|im_end|><think>", add_special_tokens=False, split_special_tokens=True).input_ids
    assert end not in split and think in split  # why that switch is not enough
    assert decode(tokenizer, pieces) in rendered(tokenizer, subject.template, record.messages)


def test_special_tokens_in_the_vocabulary_are_split() -> None:
    plain = bpe_tokenizer()
    [word] = ids_of(plain, "user")
    assert plain("user", add_special_tokens=False).input_ids == [word]
    tokenizer = bpe_tokenizer("user")
    assert ids_of(tokenizer, "user") == [word]  # the word itself was made special
    ids = only(encoder(tokenizer).encode(conversation(*talk("a user", "the user users")))).ids.tolist()
    assert ids.count(word) == 1  # the template's own
    assert decode(tokenizer, ids).endswith("assistant\nthe user users<|im_end|>")


def test_white_space_and_single_characters_that_were_added_are_text() -> None:
    spaces, snowman = (AddedToken(text, special=False, normalized=False) for text in ("    ", "☃"))
    tokenizer = bpe_tokenizer(spaces, snowman, AddedToken("☀", special=True, normalized=False))
    names = ids_of(tokenizer, "    ", "☃", "☀")
    ids = only(encoder(tokenizer).encode(conversation(*talk("    x ☃ ☀", "ok")))).ids.tolist()
    assert [ids.count(number) for number in names] == [1, 1, 0]
    assert "    x ☃ ☀" in decode(tokenizer, ids)


def test_a_special_character_of_the_vocabulary_cannot_be_typed() -> None:
    tokenizer = bpe_tokenizer("x")
    with pytest.raises(RecordError, match=r"data.json:3 \(record r1\): text: .*special token 'x'"):
        only(encoder(tokenizer).encode(conversation(*talk("x", "ok"))))


def test_unknown_characters_are_no_special_tokens() -> None:
    """A tokenizer without bytes writes <unk>; typed "<unk>" is spelt all the same."""
    backend = Tokenizer(models.BPE({"<unk>": 0, "a": 1, "u": 2, "n": 3, "k": 4}, [], unk_token="<unk>"))
    tokenizer = wrap(backend, unk_token="<unk>", eos_token="<e>")
    sample = only(encoder_of_text(tokenizer).encode(conversation(Message("assistant", ("aéunk",)))))
    assert sample.ids.tolist() == [1, 0, 2, 3, 4, tokenizer.eos_token_id]
    sample = only(encoder_of_text(tokenizer).encode(conversation(Message("assistant", ("<unk>",)))))
    assert sample.ids.tolist() == [0, 2, 3, 4, 0, tokenizer.eos_token_id]


def encoder_of_text(tokenizer: PreTrainedTokenizerFast) -> Encoder:
    return Encoder(tokenizer, load_template("plain", tokenizer))


def test_tokens_that_strip_white_space_strip_it_across_pieces() -> None:
    greedy = AddedToken("<|end|>", special=True, normalized=False, rstrip=True)
    tokenizer = bpe_tokenizer(greedy, "<|user|>", "<|assistant|>", "<|system|>")
    template = load_template("phi3_chat", tokenizer)
    record = conversation(*talk("What is it?", "A dog", "And?", "A cat"))
    whole = tokenizer(rendered(tokenizer, template, record.messages), add_special_tokens=False).input_ids
    assert only(Encoder(tokenizer, template).encode(record)).ids.tolist() == whole


def test_a_tokenizers_own_truncation_does_not_cut_records() -> None:
    tokenizer = bpe_tokenizer()
    tokenizer.backend_tokenizer.enable_truncation(4)
    ids = only(encoder(tokenizer).encode(conversation(*talk("one two three four five six", "yes")))).ids
    assert "three four five six" in decode(tokenizer, ids)


def test_records_without_a_target_raise() -> None:
    untrained = tuple(replace(message, loss=False) for message in talk("Hi", "Ok"))
    with pytest.raises(RecordError, match="data.json:3 .*no token is supervised"):
        only(encoder(TOKENIZERS["bpe"]).encode(conversation(*untrained)))


def test_text_runs_refuse_images() -> None:
    subject = Encoder(TOKENIZERS["bpe"], load_template("auto", TOKENIZERS["bpe"]))
    with pytest.raises(RecordError, match="text runs accept no images"):
        only(subject.encode(conversation(*WITH_IMAGES)))
    with pytest.raises(RecordError, match="text runs accept no images"):
        subject.prompt(WITH_IMAGES[:2])
    assert only(subject.encode(conversation(*WITH_IMAGES[-2:]))).images == ()


def test_stop_ids_are_the_end_mark_and_the_end_token() -> None:
    tokenizer = TOKENIZERS["legacy"]
    end, eos = ids_of(tokenizer, "<|im_end|>", "</s>")
    assert encoder(tokenizer, "chatml").stop_ids == (end, eos)
    assert encoder(tokenizer, "vicuna").stop_ids == (eos,)


def test_the_fingerprint_changes_with_whatever_changes_an_id() -> None:
    def fingerprint(tokenizer: PreTrainedTokenizerFast, name: str = "chatml", image: int = 5, rows: int = 2) -> str:
        return Encoder(tokenizer, load_template(name, tokenizer), image, rows).fingerprint()

    other_end = bpe_tokenizer()
    other_end.eos_token = "<|endoftext|>"
    prints = [
        fingerprint(bpe_tokenizer()),
        fingerprint(bpe_tokenizer("<new>")),
        fingerprint(other_end),
        fingerprint(bpe_tokenizer(), name="vicuna"),
        fingerprint(bpe_tokenizer(), image=6),
        fingerprint(bpe_tokenizer(), rows=3),
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint(bpe_tokenizer()) == prints[0]


def test_hashes_distinguish_tokenizer_and_template() -> None:
    def hashes(tokenizer: PreTrainedTokenizerFast, name: str = "chatml") -> dict[str, str]:
        return Encoder(tokenizer, load_template(name, tokenizer)).hashes()

    first = hashes(bpe_tokenizer())
    jinja = load_template("chatml", bpe_tokenizer()).jinja
    assert first.keys() == {"tokenizer", "template"}
    assert first["template"] == hashlib.sha256(jinja.encode()).hexdigest()[:24]
    other, template = hashes(bpe_tokenizer("<new>")), hashes(bpe_tokenizer(), "vicuna")
    assert other["tokenizer"] != first["tokenizer"] and other["template"] == first["template"]
    assert template["tokenizer"] == first["tokenizer"] and template["template"] != first["template"]
    ended = bpe_tokenizer()
    ended.eos_token = "<|endoftext|>"
    assert hashes(ended)["tokenizer"] != first["tokenizer"]
