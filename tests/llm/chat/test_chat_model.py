"""Answers in the terminal and one by one; the identity figures from chat_models whose answers are known."""

import json
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import GenerationConfig

from llm.chat.answer_row import AnswerRequest
from llm.chat.answer_text import AnswerText
from llm.chat.chat_model import ChatModel, question
from llm.chat.decode_loop import DecodeLoop
from llm.chat.identity_eval import IdentityQuestions, evaluate_identity, read_identity
from llm.chat.sampling import Sampling
from llm.chat.token_stream import StreamedAnswer, TokenSink
from llm.chat.turn import without_waiting
from llm.encoding.chat_template import load_template
from llm.encoding.encoder import Encoder
from llm.errors import DataError, RecordError
from llm.formats.conversation import Message
from llm.model.eval_mode import arguments_alone, asked_of_generation
from llm.model.pretrained import load_llm, load_tokenizer


@pytest.fixture(scope="module")
def chat_model(tiny_llama: Path) -> ChatModel:
    """A tiny model that answers nonsense, deterministically."""
    tokenizer = load_tokenizer(str(tiny_llama))
    llm = load_llm(str(tiny_llama), torch.float32)
    embeddings = llm.get_input_embeddings()
    encoder = Encoder(tokenizer, load_template("chatml", tokenizer))
    return ChatModel(llm, llm, encoder, lambda ids, _: embeddings(torch.tensor(ids)))


def test_batched_answers_equal_single_ones(chat_model: ChatModel) -> None:
    asked = [question("Who are you?"), question("The dog?" * 7), question("你好", system="Be brief.")]
    sampling = Sampling(max_new_tokens=6)
    assert chat_model.answers(asked, sampling) == [chat_model.answer(one, sampling) for one in asked]


def test_a_stream_joins_to_the_answer_and_can_be_closed(chat_model: ChatModel) -> None:
    asked, sampling = question("What is it?"), Sampling(max_new_tokens=12)
    reply = chat_model.stream(asked, sampling)
    assert "".join(reply) == chat_model.answer(asked, sampling)
    assert (reply.completion_tokens, reply.finish) == (12, "length")
    assert reply.prompt_tokens == len(chat_model.encoder.prompt(asked)[0])
    stream = chat_model.stream(asked, Sampling(max_new_tokens=10_000))
    next(stream)
    stream.close()  # returns only when the generating thread has ended: 10,000 tokens would take minutes


def test_sampling_is_seeded(chat_model: ChatModel) -> None:
    asked = question("What is it?")
    hot = Sampling(temperature=1.5, max_new_tokens=12, seed=3)
    assert chat_model.answer(asked, hot) == chat_model.answer(asked, hot)
    others = {chat_model.answer(asked, Sampling(temperature=1.5, max_new_tokens=12, seed=seed)) for seed in range(4)}
    assert len(others) > 1


def test_what_a_folder_asks_of_generation_changes_no_answer(chat_model: ChatModel) -> None:
    """transformers fills the options that a call leaves open from generation_config.json."""
    asked, model = [question("What is it?"), question("The dog?" * 7)], chat_model.model
    hot, greedy = Sampling(temperature=1.5, max_new_tokens=8, seed=3), Sampling(max_new_tokens=8)
    before, own = [chat_model.answers(asked, one) for one in (greedy, hot)], model.generation_config
    model.generation_config = GenerationConfig(
        num_beams=2, num_return_sequences=2, no_repeat_ngram_size=1, min_p=0.9, stop_strings=["a"], eos_token_id=5
    )
    try:
        assert [chat_model.answers(asked, one) for one in (greedy, hot)] == before
        assert asked_of_generation(model).startswith("min_p=0.9, no_repeat_ngram_size=1, num_beams=2,")
        assert "eos" not in asked_of_generation(model)
        with arguments_alone(model):
            assert not asked_of_generation(model) and model.generation_config.eos_token_id == 5
    finally:
        model.generation_config = own
    assert not asked_of_generation(model)


@pytest.mark.parametrize("opening", ["<think>\n\n</think>\n\n", " "])
def test_what_the_template_opens_an_answer_with_is_left_out_of_chats_alone(
    chat_model: ChatModel, opening: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder(chat_model.encoder.tokenizer, copy(chat_model.encoder.template))
    encoder.template.opening = opening
    opened, tokenizer = replace(chat_model, encoder=encoder), cast(Any, encoder.tokenizer)
    said = tokenizer(opening + "Yes.", add_special_tokens=False).input_ids

    def decoded(_: DecodeLoop, request: AnswerRequest) -> list[int]:
        for ids in ([1], *([number] for number in said)):
            request.sink.put(torch.tensor(ids))
        return said

    monkeypatch.setattr("llm.chat.chat_model.generate", lambda *_: [said])
    monkeypatch.setattr(DecodeLoop, "answer", decoded)
    assert opened.answer(question("Q"), Sampling()) == "Yes."
    assert "".join(opened.stream(question("Q"), Sampling())) == "Yes."
    assert "".join(opened.stream_after([1, 2], (), Sampling(), without_waiting)) == opening + "Yes."


def test_stop_texts_end_the_answer(chat_model: ChatModel) -> None:
    whole = chat_model.answer(question("What is it?"), Sampling(max_new_tokens=12))
    word = whole[3:5]
    cut = chat_model.answer(question("What is it?"), Sampling(max_new_tokens=12, stop=(word,)))
    assert word and cut == whole.split(word)[0]
    reply = chat_model.stream(question("What is it?"), Sampling(max_new_tokens=12, stop=(word,)))
    assert "".join(reply) == cut and reply.finish == "stop"


def _reply(tokens: list[int], stop: tuple[str, ...] = (), error: Exception | None = None) -> StreamedAnswer:
    """A reply whose tokens are characters, 0 is the end mark, and 1 half a character."""

    def generate(streamer: TokenSink, stopped: Callable[[], bool]) -> None:
        streamer.put(torch.tensor([[7, 7, 7]]))  # the prompt
        for token in tokens:
            streamer.put(torch.tensor([token]))
        if error:
            raise error

    def decode(ids: list[int]) -> str:
        return "".join(map(chr, ids)).replace("\x01\x01", "é").replace("\x01", "\ufffd")

    return StreamedAnswer(generate, AnswerText(decode, stop), (0,), 3)


def test_a_stream_piece_by_piece() -> None:
    reply = _reply([*b"caf", 1, 1, *b"!", 0, *b"never"])
    assert (list(reply), reply.finish, reply.completion_tokens) == (["c", "a", "f", "é", "!"], "stop", 7)
    reply = _reply([*b"caf", 1])
    assert (list(reply), reply.finish) == (["c", "a", "f", "\ufffd"], "length")


def test_a_prefix_of_a_stop_text_is_held_back() -> None:
    reply = _reply([*b"a STONE, STOP here"], stop=("STOP", "zz"))
    assert (list(reply), reply.finish) == (["a", " ", "STON", "E", ",", " "], "stop")
    assert list(_reply([*b"a ST"], stop=("STOP",))) == ["a", " ", "ST"]


def test_an_exception_of_the_generation_reaches_the_reader() -> None:
    reply = _reply([*b"ab"], error=ValueError("no"))
    assert next(reply) == "a"
    with pytest.raises(ValueError, match="no"):
        list(reply)


class _Scripted:
    """A chat_model that knows some answers."""

    def __init__(self, known: dict[str, str]) -> None:
        self.known = known

    def answers(self, conversations: list[tuple[Message, ...]], sampling: Sampling) -> list[str]:
        return [self.known.get(messages[-1].text, "I do not know.") for messages in conversations]


def test_identity_metrics_by_hand() -> None:
    questions = IdentityQuestions(
        ["Who are you?", "Your name?"],
        ["Capital of Italy?"],
        [("1+1?", ("two", "2")), ("Sky?", ("blue",)), ("Moon?", ("cheese",))],
    )
    base = _Scripted({"1+1?": "It is 2.", "Sky?": "Blue."})
    tuned = _Scripted({"Who are you?": "I am IRIS.", "Capital of Italy?": "Iris says Rome.", "1+1?": "2"})
    figures, rows = evaluate_identity(base, tuned, questions, "Iris", 8)
    assert figures == {
        "identity_hit_before": 0.0,
        "identity_hit_after": 0.5,
        "identity_leak": 1.0,
        "retained_ability": 0.5,
        "general_questions_base_knew": 2,
    }
    assert len(rows) == 2 + 2 + 1 + 3 + 3


def test_identity_lists_are_checked(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(["a"]))
    bad.write_text(json.dumps([{"question": "a"}]))
    general = tmp_path / "general.json"
    general.write_text(json.dumps([{"question": "1+1?", "answer": ["2", "two"]}, {"question": "?", "answer": 3}]))
    assert read_identity(good, good, general).general == [("1+1?", ("2", "two")), ("?", ("3",))]
    with pytest.raises(RecordError, match="bad.json"):
        read_identity(good, good, bad)
    with pytest.raises(DataError, match="does not exist"):
        read_identity(tmp_path / "none.json", good, general)


def test_the_opening_of_a_template_is_no_part_of_an_answer(chat_model: ChatModel) -> None:
    """A model that learnt it writes it; it is hidden in answers and streams, also where it is cut off."""
    tokenizer: Any = load_tokenizer(str(chat_model.model.name_or_path))
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + ('<think>\n\n</think>\n\n' if loop.last "
        "and m.role == 'assistant' else '') + m.content + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    encoder = Encoder(tokenizer, load_template("auto", tokenizer))
    model = replace(chat_model, encoder=encoder)
    whole = tokenizer("<think>\n\n</think>\n\nA dog.", add_special_tokens=False).input_ids
    assert encoder.opening == "<think>\n\n</think>\n\n"
    shown = [model._decode(whole[:count]) for count in range(len(whole) + 1)]
    assert shown[-1] == "A dog." and not any("think" in text for text in shown)
    other = tokenizer("<think>\nWell</think>A", add_special_tokens=False).input_ids
    assert model._decode(other) == "<think>\nWell</think>A"
    assert chat_model._decode(whole) == "<think>\n\n</think>\n\nA dog.", "no opening in this template"

    def generate(streamer: TokenSink, stopped: Callable[[], bool]) -> None:
        streamer.put(torch.tensor([0]))
        for number in whole:
            streamer.put(torch.tensor([number]))

    assert "".join(StreamedAnswer(generate, AnswerText(model._plain_text, opening=encoder.opening), (), 1)) == "A dog."
