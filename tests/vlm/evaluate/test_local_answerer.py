"""Answers from logits are those of scoring each answer by itself; texts are those of greedy decoding one by one."""

from pathlib import Path
from typing import Any

import pytest
import torch

from llm.chat.chat_model import ChatModel, question
from llm.chat.sampling import Sampling
from llm.errors import DataError
from llm.model.precision import Hardware
from vlm.evaluate.answerer import Answer, Prompt
from vlm.evaluate.choice_tokens import choice_tokens
from vlm.evaluate.local_answerer import LocalAnswerer
from vlm.model.open_chat_model import open_chat_model

LETTERS = ("A", "B", "C", "D")


@pytest.fixture(scope="module")
def chat(roomy_llm: Path) -> ChatModel:
    """In fp32, also on a CPU that multiplies bf16."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vlm.model.hf_folder.this_machine", Hardware)
        return open_chat_model(roomy_llm)


def answered(chat: ChatModel, prompts: list[Prompt], **options: Any) -> list[Answer]:
    found = dict(LocalAnswerer("tiny", chat, **options).answers(prompts))
    assert sorted(found) == list(range(len(prompts))), "every prompt once"
    return [found[number] for number in range(len(prompts))]


def texts(count: int) -> list[str]:
    return [f"question {number % 5}: which letter follows {'xyz'[number % 3]}? {number}" for number in range(count)]


def logprob_of(chat: ChatModel, text: str, answer: str) -> float:
    """The reference: the first token of one answer after one prompt, by a forward pass of its own."""
    tokenizer: Any = chat.encoder.tokenizer
    prompt, _ = chat.encoder.prompt(question(text))
    [token, *_] = tokenizer.encode(answer, add_special_tokens=False)
    model: Any = chat.model
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt])).logits[0, -1]
    return float(logits.float().log_softmax(-1)[token])


def test_letters_are_compared_by_one_forward_pass(chat: ChatModel) -> None:
    prompts = [Prompt(question(text), LETTERS if number % 2 else LETTERS[:3]) for number, text in enumerate(texts(12))]
    for prompt, text, found in zip(prompts, texts(12), answered(chat, prompts), strict=True):
        expected = {letter: logprob_of(chat, text, letter) for letter in prompt.choices}
        assert dict(found.logprobs) == pytest.approx(expected, abs=1e-4)
        assert found.text == max(expected, key=expected.__getitem__)


def test_yes_and_no_count_in_each_spelling(chat: ChatModel) -> None:
    tokens = choice_tokens(chat.encoder, ("Yes", "No"))
    assert tokens is not None and len(tokens.tokens["Yes"]) >= 2
    [found] = answered(chat, [Prompt(question("is it?"), ("Yes", "No"))])
    prompt, _ = chat.encoder.prompt(question("is it?"))
    model: Any = chat.model
    with torch.no_grad():
        shares = model(input_ids=torch.tensor([prompt])).logits[0, -1].float().softmax(-1)
    for choice, begins in tokens.tokens.items():
        assert found.logprobs[choice] == pytest.approx(float(shares[list(begins)].sum().log()), abs=1e-4)


def test_choices_that_begin_alike_are_written(chat: ChatModel) -> None:
    assert choice_tokens(chat.encoder, ("A", "A")) is None
    [found] = answered(chat, [Prompt(question("which?"), ("A", "A"), 4)])
    assert found.logprobs == {} and found.text == chat.answer(question("which?"), Sampling(max_new_tokens=4))


@pytest.mark.parametrize("choices", [(), LETTERS])
def test_texts_are_those_of_greedy_decoding(chat: ChatModel, choices: tuple[str, ...]) -> None:
    prompts = [Prompt(question(text), choices, 6) for text in texts(10)]
    found = answered(chat, prompts, generate=True)
    assert [one.text for one in found] == [
        chat.answer(prompt.messages, Sampling(max_new_tokens=6)) for prompt in prompts
    ]


def test_a_prompt_beyond_the_context_gets_no_answer_and_says_so(chat: ChatModel) -> None:
    long = question("word " * chat.context)
    for prompt in (Prompt(long, LETTERS), Prompt(long, (), 4)):
        found = answered(chat, [prompt, Prompt(question("short?"), prompt.choices, 4)])
        assert "does not fit the model's context" in found[0].note and found[0].text == ""
        assert found[1].note == ""


def test_a_text_model_is_not_asked_about_images(chat: ChatModel) -> None:
    with pytest.raises(DataError, match="is a text model"):
        answered(chat, [Prompt(question("what?", ("a.png",)))])
