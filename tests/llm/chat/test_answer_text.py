"""Text that grows by tokens is that of decoding all at once: random ids, real text, stop texts, openings."""

import random
from collections.abc import Callable

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from llm.chat.answer_text import AnswerText, GrowingText, cut_at_stop
from llm.encoding.chat_template import load_template
from llm.encoding.encoder import Encoder
from tests.llm.tokenizers import CHATML, bpe_tokenizer, ids_of, llama_tokenizer, wrap

ADDED = AddedToken(" 标 é ", special=False, normalized=False)  # with blanks, and characters of several bytes
TEXTS = [
    "你好，世界。😀👩‍👩‍👧 naïve façade   three blanks\n\n  indented\tThai: สวัสดี ",
    " A leading blank, ' s , n't . <think> tags </think> and 🇨🇳 flags.",
    "𐍈𐍈𐍈 a\u0301 \u200d\ufffd end",
]


def wordpiece_tokenizer() -> PreTrainedTokenizerFast:
    """Blanks before punctuation are removed: the text of a token depends on those around it."""
    words = ["[UNK]", *"abn", "##b", "'", "t", "s", ".", ",", "do"]
    backend = Tokenizer(models.WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    backend.decoder = decoders.WordPiece("##", cleanup=True)
    return wrap(backend, unk_token="[UNK]")


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "bytes": lambda: bpe_tokenizer(ADDED),
    "sentencepiece": lambda: llama_tokenizer(ADDED),
    "sentencepiece, first": lambda: llama_tokenizer(ADDED, scheme="first"),
}


@pytest.fixture(scope="module", params=[*TOKENIZERS])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    tokenizer = TOKENIZERS[request.param]()
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    tokenizer.chat_template = CHATML
    return Encoder(tokenizer, load_template("chatml", tokenizer))


def answers_of(encoder: Encoder, count: int) -> list[list[int]]:
    """Ids that a model may write: real texts, byte runs cut and spoiled, special tokens and blanks between, chance."""
    tokenizer, chance = encoder.tokenizer, random.Random(1)
    real = [tokenizer(text, add_special_tokens=False).input_ids for text in TEXTS]
    special = [*tokenizer.all_special_ids]
    vocabulary = tokenizer.get_vocab()
    blanks = [vocabulary[token] for token in ("▁", "▁▁", "Ġ", "<think>") if token in vocabulary]
    pieces = [some[start : start + 9] for some in real for start in range(len(some))]
    pieces += [[number] for number in (*special, *blanks)]
    between = [[number for one in some for number in (one, special[0])] for some in real]
    found = [*real, *between, *spoiled(encoder, special[0])]
    while len(found) < count:
        some = [chance.choice(pieces) for _ in range(chance.randrange(1, 9))]
        some.append([chance.randrange(len(tokenizer)) for _ in range(chance.randrange(4))])
        chance.shuffle(some)
        found.append([number for piece in some for number in piece][: chance.randrange(1, 50)])
    return found


def spoiled(encoder: Encoder, special: int) -> list[list[int]]:
    """A complete character in byte tokens, an id without text, then a byte that makes the run invalid."""
    if not encoder.byte_ids or not isinstance(encoder.tokenizer, PreTrainedTokenizerFast):
        return []
    tokens = ids_of(encoder.tokenizer, "<0xE4>", "<0xBD>", "<0xA0>", "<0xE5>")
    return [[*tokens[:3], special, tokens[3]]]


def plain(encoder: Encoder) -> Callable[[list[int]], str]:
    return lambda ids: str(encoder.tokenizer.decode(ids, skip_special_tokens=True))


def test_after_every_token_the_text_is_that_of_all_tokens_at_once(encoder: Encoder) -> None:
    decode = plain(encoder)
    for ids in answers_of(encoder, 150):
        text, complete = GrowingText(decode, encoder.byte_ids), decode(ids)
        for count, token in enumerate(ids, 1):
            text.add(token)
            assert text.settled + text.rest == decode(ids[:count])
            assert complete.startswith(text.settled), "settled text has changed"


def test_pieces_join_to_the_answer_and_stop_texts_are_found_at_their_last_token(encoder: Encoder) -> None:
    decode, chance, found = plain(encoder), random.Random(2), 0
    for ids in answers_of(encoder, 150):
        complete = decode(ids)
        start = chance.randrange(len(complete) + 1)
        stop = tuple(word for word in (complete[start : start + 3], "zzz") if word)
        shown, text = "", AnswerText(decode, stop, byte_ids=encoder.byte_ids)
        for count, token in enumerate(ids, 1):
            ended = text.add(token)
            assert ended == any(word in decode(ids[:count]) for word in stop)
            found += ended
            if ended:
                break
            shown += text.ready()
        assert shown + text.last() == cut_at_stop(decode(ids[:count]), stop)
    assert found > 50


@pytest.mark.parametrize("opening", ["<think>\n\n</think>\n\n", " ", "你好"])
def test_the_opening_is_left_out_at_every_length(encoder: Encoder, opening: str) -> None:
    decode = plain(encoder)
    for said in (opening + " Yes.", opening + opening + "x", opening[:2], "A" + opening, " " + opening):
        ids = encoder.tokenizer(said, add_special_tokens=False).input_ids
        opened = decode(ids)
        expected = "" if opening.startswith(opened) else opened.removeprefix(opening)
        text, shown = AnswerText(decode, (), opening, encoder.byte_ids), ""
        for token in ids:
            text.add(token)
            shown += text.ready()
        assert shown + text.last() == expected


def test_no_more_than_a_few_tokens_are_decoded_again(encoder: Encoder) -> None:
    decode, calls = plain(encoder), list[int]()
    ids = [number for some in answers_of(encoder, 3) for number in some] * 5

    def counted(some: list[int]) -> str:
        calls.append(len(some))
        return decode(some)

    text = GrowingText(counted, encoder.byte_ids)
    for token in ids:
        text.add(token)
        text.take(len(text.settled))
    assert sum(calls) < 25 * len(ids), "a run of bytes is decoded again, as is the id before a character"
    assert len(ids) > 500


def test_a_decoder_that_looks_further_back_is_given_everything() -> None:
    tokenizer = wordpiece_tokenizer()
    ids = ids_of(tokenizer, "do", "n", "'", "t", "a", "##b", ".", "b", ",", "a", "'", "s")
    text = GrowingText(tokenizer.decode)
    for count, token in enumerate(ids, 1):
        text.add(token)
        assert text.settled + text.rest == tokenizer.decode(ids[:count])
