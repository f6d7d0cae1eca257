"""POST /v1/completions through OpenAI's client: texts continued and scored, against plain transformers."""

import json
from typing import Any

import httpx2 as httpx
import pytest
import torch
from openai import BadRequestError

from demo.server.generation_queue import GenerationQueue
from llm.chat import token_scores
from llm.encoding.encoder import Encoder
from tests.demo.conftest import LIMITS, Server

PROMPT = "What is it?"


def create(server: Server, **more: Any) -> Any:
    """The answer of the text model."""
    return server.client.completions.create(**({"model": "text", "prompt": PROMPT} | more))


def plain(queue: GenerationQueue, name: str, ids: list[int], tokens: int) -> tuple[list[int], torch.Tensor]:
    """Greedy ids after `ids`, and the log probabilities [T - 1, vocabulary] of all of them: a forward pass a token."""
    model = queue.chat_models[name].model
    ids = list(ids)
    with torch.no_grad():
        for _ in range(tokens):
            logits = model(input_ids=torch.tensor([ids])).logits[0].float()
            ids.append(int(logits[-1].argmax()))
        logits = model(input_ids=torch.tensor([ids])).logits[0].float()
    return ids, torch.log_softmax(logits, -1)[:-1]


@pytest.mark.parametrize("name", ["text", "eyes"])
def test_a_text_is_continued_without_a_chat_template(server: Server, name: str) -> None:
    tokenizer = server.queue.chat_models[name].encoder.tokenizer
    ids = tokenizer(PROMPT).input_ids
    new = plain(server.queue, name, ids, 4)[0][len(ids) :]
    reply = create(server, model=name, max_tokens=4)
    (choice,) = reply.choices
    assert (choice.text, choice.finish_reason, choice.logprobs) == (tokenizer.decode(new), "length", None)
    assert (reply.object, reply.id[:5], reply.model) == ("text_completion", "cmpl-", name)
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (len(ids), 4)
    for prompt in ([PROMPT], ids, [ids]):
        assert create(server, model=name, max_tokens=4, prompt=prompt).choices[0].text == choice.text
    assert create(server, model=name, max_tokens=4, echo=True).choices[0].text == PROMPT + choice.text
    assert create(server, model=name, max_tokens=4, echo=True, prompt=ids).choices[0].text == PROMPT + choice.text


def test_a_special_token_in_the_prompt_is_that_token(server: Server) -> None:
    """Clients that write the chat template themselves send it in the prompt."""
    tokenizer = server.queue.chat_models["text"].encoder.tokenizer
    mark = tokenizer.eos_token
    assert len(tokenizer(f"{mark}a").input_ids) == len(tokenizer("a").input_ids) + 1
    assert create(server, prompt=f"{mark}a").usage.prompt_tokens == len(tokenizer(f"{mark}a").input_ids)


def test_the_default_is_16_tokens_and_0_are_none(server: Server) -> None:
    assert create(server).usage.completion_tokens == 16
    assert create(server, max_tokens=-1).usage.completion_tokens == LIMITS.new_tokens
    scored = create(server, max_tokens=0, echo=True)
    assert (scored.choices[0].text, scored.choices[0].finish_reason) == (PROMPT, "length")
    assert scored.usage.completion_tokens == 0


@pytest.mark.parametrize("name", ["text", "eyes"])
@pytest.mark.parametrize("chunk", [1, 3, 256])
def test_log_probabilities_are_those_of_a_plain_forward_pass(
    server: Server, name: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As lm-eval asks for them: the prompt again, one token more, and the likeliest token at each place."""
    monkeypatch.setattr(token_scores, "CHUNK", chunk)
    tokenizer = server.queue.chat_models[name].encoder.tokenizer
    prompt = tokenizer(PROMPT).input_ids
    ids, expected = plain(server.queue, name, prompt, 2)
    own = expected[range(len(ids) - 1), ids[1:]]
    best = expected.max(-1).values
    scored = create(server, model=name, max_tokens=2, echo=True, logprobs=1).choices[0].logprobs
    assert scored.tokens[: len(prompt)] == [*PROMPT] and len(ids) == len(prompt) + 2 > 4
    assert scored.token_logprobs[0] is None and scored.top_logprobs[0] is None
    assert scored.token_logprobs[1:] == pytest.approx(own.tolist(), abs=1e-4)
    assert [max(top.values()) for top in scored.top_logprobs[1:]] == pytest.approx(best.tolist(), abs=1e-4)
    assert scored.text_offset == [len("".join(scored.tokens[:number])) for number in range(len(ids))]
    answer = create(server, model=name, max_tokens=2, logprobs=3).choices[0].logprobs
    assert answer.token_logprobs == pytest.approx(own[-2:].tolist(), abs=1e-4), "the answer alone without echo"
    assert [max(top.values()) for top in answer.top_logprobs] == pytest.approx(best[-2:].tolist(), abs=1e-4)
    assert all(len(top) in (2, 3) for top in answer.top_logprobs), "tokens of no text share one name"
    none = create(server, model=name, max_tokens=2, logprobs=0).choices[0].logprobs
    assert none.token_logprobs == answer.token_logprobs and none.top_logprobs == [None, None]
    prompt_alone = create(server, model=name, max_tokens=0, echo=True, logprobs=1).choices[0].logprobs
    assert prompt_alone.token_logprobs[1:] == pytest.approx(own[:-2].tolist(), abs=1e-4)


def test_an_end_mark_is_scored_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """lm-eval drops the last score, that of the one token it asks for, also where this is an end mark without text."""
    prompt = server.queue.chat_models["text"].encoder.tokenizer(PROMPT).input_ids
    ids, expected = plain(server.queue, "text", prompt, 1)
    monkeypatch.setattr(Encoder, "stop_ids", property(lambda _: (ids[-1],)))
    reply = create(server, max_tokens=1, echo=True, logprobs=1)
    (choice,) = reply.choices
    assert (choice.text, choice.finish_reason, reply.usage.completion_tokens) == (PROMPT, "stop", 1)
    own = expected[range(len(ids) - 1), ids[1:]]
    assert choice.logprobs.token_logprobs[1:] == pytest.approx(own.tolist(), abs=1e-4)
    assert len(choice.logprobs.tokens) == len(prompt) + 1


def test_a_stream_begins_with_the_prompt_where_it_is_wanted(server: Server) -> None:
    complete = create(server, echo=True, max_tokens=6)
    chunks = list(create(server, echo=True, max_tokens=6, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == complete.choices[0].text
    assert chunks[0].choices[0].text == PROMPT and chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage == complete.usage and {chunk.object for chunk in chunks} == {"text_completion"}


def test_stop_words_and_draws(server: Server) -> None:
    text = create(server).choices[0].text
    assert create(server, stop=text[3:5]).choices[0].text == text[: text.index(text[3:5])]
    drawn = {create(server, temperature=1.5, seed=seed).choices[0].text for seed in range(4)}
    assert len(drawn) > 1


NEUTRAL: dict[str, object] = {
    "suffix": None, "best_of": 1, "n": None, "logit_bias": {}, "frequency_penalty": 0, "presence_penalty": 0.0,
    "logprobs": False, "echo": None, "stream": None, "stop": None, "user": "u",
}  # fmt: skip


def test_what_asks_for_nothing_is_accepted(server: Server) -> None:
    answer = httpx.post(f"{server.url}/v1/completions", json={"model": "text", "prompt": PROMPT, **NEUTRAL})
    assert answer.status_code == 200 and answer.headers["eyegraft-no-effect"] == "user"


@pytest.mark.parametrize(
    ("asked", "param", "found"),
    [
        ({"suffix": "end"}, "suffix", "'end' is not offered here. Texts are continued at their end"),
        ({"best_of": 3}, "best_of", "3 is not offered here"),
        ({"prompt": ["a", "b"]}, "prompt", "2 prompts. Send a request for each"),
        ({"prompt": [[1], [2]]}, "prompt", "2 prompts. Send a request for each"),
        ({"prompt": {"a": 1}}, "prompt", "neither a text nor a list of token ids"),
        ({"prompt": [True]}, "prompt", "neither a text nor a list of token ids"),
        ({"prompt": None}, "prompt", "neither a text nor a list of token ids"),
        ({"prompt": []}, "prompt", "is empty. Write the text to continue"),
        ({"prompt": [[]]}, "prompt", "is empty. Write the text to continue"),
        ({"prompt": [10**9]}, "prompt", "the model has no token 1000000000. Its tokens are 0 to"),
        ({"prompt": [-1]}, "prompt", "the model has no token -1"),
        ({"prompt": "a\ud800"}, "prompt", "half of a surrogate pair"),
        ({"prompt": "x" * 100_001}, "prompt", "more than 100,000 characters"),
        ({"prompt": "long " * 3000}, "prompt", "the model reads 2,048"),
        ({"logprobs": 21}, "logprobs", "less than or equal to 20"),
        ({"top_logprobs": 3}, "top_logprobs", "3 is not offered here. logprobs is the number of likeliest tokens"),
        ({"logprobs": 1, "stop": "a"}, "logprobs", "is not offered together with stop"),
        ({"messages": [{"role": "user", "content": "Q"}]}, "messages", "Send it to /v1/chat/completions"),
        ({"top_p": 3}, "top_p", "less than or equal to 1"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(server: Server, asked: dict[str, Any], param: str, found: str) -> None:
    body = json.dumps({"model": "text", "prompt": PROMPT} | asked)
    answer = httpx.post(f"{server.url}/v1/completions", content=body, headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param) and found in error["message"]


def test_the_place_of_an_image_cannot_be_written(server: Server) -> None:
    number = server.eyes.encoder.image_id
    assert number is not None
    for prompt in ([number], f"a{server.eyes.encoder.tokenizer.decode([number])}"):
        with pytest.raises(BadRequestError, match="prompt: holds the model's place for an image. Send images to"):
            create(server, model="eyes", prompt=prompt)
