"""Log probabilities in chat and in streams, through OpenAI's client, against plain forward passes."""

from typing import Any

import httpx2 as httpx
import pytest
import torch
from openai import BadRequestError, LengthFinishReasonError

from demo.api.logprobs import MOST_LIKELIEST
from llm.chat import token_scores
from llm.chat.chat_model import ChatModel, question
from llm.encoding.encoder import Encoder
from llm.formats.conversation import ImageRef
from tests.demo.conftest import Server, data_url, noise_image

TEXT = "What is it?"


def chat(server: Server, name: str, image: bytes | None = None, **more: Any) -> Any:
    shown: list[Any] = [{"type": "image_url", "image_url": {"url": data_url(image)}}] if image else []
    messages: Any = [{"role": "user", "content": [*shown, {"type": "text", "text": TEXT}]}]
    return server.client.chat.completions.create(model=name, messages=messages, max_tokens=5, **more)


def expected(model: ChatModel, image: bytes | None, new: int) -> tuple[list[int], torch.Tensor]:
    """Greedy ids after the prompt and the log probabilities [new, vocabulary]: a forward pass of all of it a token."""
    asked = question(TEXT)
    if image:
        asked = (type(asked[0])("user", (ImageRef(data=image), TEXT)),)
    ids, images = model.encoder.prompt(asked)
    rows: list[torch.Tensor] = []
    start = len(ids)
    with torch.no_grad(), model.answering():
        for _ in range(new):
            embeds = model.embed(ids, images)[None]
            rows.append(model.model(inputs_embeds=embeds, use_cache=False).logits[0, -1].float())
            ids = [*ids, int(rows[-1].argmax())]
    return ids[start:], torch.stack(rows).log_softmax(-1)


@pytest.mark.parametrize(("name", "image"), [("text", None), ("eyes", None), ("eyes", noise_image(3))])
def test_a_chats_log_probabilities_are_those_of_plain_forward_passes(
    server: Server, name: str, image: bytes | None
) -> None:
    model = server.queue.chat_models[name]
    ids, rows = expected(model, image, 5)
    (choice,) = chat(server, name, image, logprobs=True, top_logprobs=3).choices
    scores = choice.logprobs.content
    assert len(scores) == 5 and choice.logprobs.refusal is None
    assert [one.logprob for one in scores] == pytest.approx(rows[range(5), ids].tolist(), abs=1e-4)
    for one, row in zip(scores, rows, strict=True):
        best = row.topk(3).values.tolist()
        assert [top.logprob for top in one.top_logprobs] == pytest.approx(best, abs=1e-4)
        assert one.bytes is None or bytes(one.bytes).decode() == one.token == one.top_logprobs[0].token
    plain = chat(server, name, image).choices[0]
    assert plain.logprobs is None and plain.message.content == choice.message.content, "scoring changes no answer"
    none = chat(server, name, image, logprobs=True).choices[0].logprobs.content
    assert [(one.token, one.top_logprobs) for one in none] == [(one.token, []) for one in scores]


def test_a_chats_scores_are_of_its_text_without_the_end_mark(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenAI's API has them."""
    ids, _ = expected(server.queue.chat_models["text"], None, 3)
    whole = chat(server, "text", logprobs=True).choices[0].logprobs.content
    monkeypatch.setattr(Encoder, "stop_ids", property(lambda _: (ids[2],)))
    assert ids[2] not in ids[:2], "the third token is the first end mark"
    (choice,) = chat(server, "text", logprobs=True).choices
    assert choice.finish_reason == "stop" and choice.logprobs.content == whole[:2]


@pytest.mark.parametrize("name", ["text", "eyes"])
def test_a_streams_log_probabilities_are_those_of_the_complete_answer(server: Server, name: str) -> None:
    asked = {"logprobs": True, "top_logprobs": 2}
    complete = chat(server, name, **asked).choices[0]
    chunks = [chunk.choices[0] for chunk in chat(server, name, stream=True, **asked)]
    assert "".join(one.delta.content or "" for one in chunks) == complete.message.content
    scores = [score for one in chunks if one.logprobs for score in one.logprobs.content]
    assert scores == complete.logprobs.content and chunks[-1].finish_reason == "length"
    with (
        server.client.chat.completions.stream(
            model=name, messages=[{"role": "user", "content": TEXT}], max_tokens=5, **asked
        ) as stream,
        pytest.raises(LengthFinishReasonError) as caught,
    ):
        stream.get_final_completion()
    final = caught.value.completion.choices[0]
    assert final.logprobs is not None and final.logprobs.content == scores, "as OpenAI's own accumulator has them"


@pytest.mark.parametrize("echo", [False, True])
def test_a_streamed_text_has_the_scores_of_the_complete_one(server: Server, echo: bool) -> None:
    asked: dict[str, Any] = {"model": "text", "prompt": TEXT, "max_tokens": 4, "logprobs": 2, "echo": echo}
    complete = server.client.completions.create(**asked).choices[0]
    chunks = [chunk.choices[0] for chunk in server.client.completions.create(stream=True, **asked)]
    assert "".join(one.text for one in chunks) == complete.text
    assert [one.logprobs for one in chunks if one.logprobs] == [complete.logprobs]
    assert [one.finish_reason for one in chunks if one.finish_reason] == ["length"]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": False, "top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": MOST_LIKELIEST + 1}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": -1}, "top_logprobs"),
        ({"logprobs": 7}, "logprobs"),
        ({"logprobs": True, "stop": "a"}, "logprobs"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(server: Server, asked: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        chat(server, "text", **asked)
    assert caught.value.param == param


# Neutral values that the clients of benchmarks send, beside what they ask for.
CLIENTS: dict[str, Any] = {
    "n": 1, "frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}, "logprobs": False, "top_logprobs": None,
    "tools": [], "response_format": {"type": "text"}, "top_k": 0, "repetition_penalty": 1.0, "user": "u",
    "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "parallel_tool_calls": True, "seed": 1234,
    "stop": [], "stream_options": None,
}  # fmt: skip


def test_neutral_values_of_benchmarks_clients_are_accepted(server: Server) -> None:
    parts = [{"type": "text", "text": ""}, {"type": "text", "text": TEXT}]
    image = {"type": "image_url", "image_url": {"url": data_url(noise_image(1)), "detail": "auto"}}
    body = {"model": "eyes", "messages": [{"role": "user", "content": [*parts, image]}], "max_tokens": 32768, **CLIENTS}
    assert httpx.post(f"{server.url}/v1/chat/completions", json=body).status_code == 200


def test_an_impossible_token_has_a_number_that_json_can_hold() -> None:
    rows = torch.tensor([[0.0, -torch.inf]]).log_softmax(-1).clamp(min=token_scores.NEVER)
    (score,) = token_scores._scores(rows, [1], 2)
    assert (score.logprob, score.top) == (-9999.0, ((0, 0.0), (1, -9999.0)))
