"""Benchmark questions to an API: messages and images as sent, retries, refusals, and a server that is down."""

import base64
from io import BytesIO
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from data_tools.ask.client import ApiServer
from data_tools.ask.endpoint_answerer import EndpointAnswerer
from data_tools.ask.rate_limit import RetryPolicy
from llm.chat.chat_model import question
from llm.errors import ConfigError, RunError
from llm.formats.conversation import Message
from tests.data_tools.ask.stub import Act, ReceivedRequest, Script, listening
from vlm.evaluate.answerer import Answer, Prompt

QUICK = RetryPolicy(retries=2, first=0.01, longest=0.02)


def prompts(count: int) -> list[Prompt]:
    return [Prompt(question(f"question {number}"), ("A", "B"), 9) for number in range(count)]


def asked_of(script: Script, wanted: list[Prompt]) -> tuple[dict[int, Answer], list[ReceivedRequest]]:
    with listening(script) as stub:
        answerer = EndpointAnswerer(ApiServer(stub.url), "small", retries=QUICK)
        assert answerer.name == f"small at {stub.url}"
        return dict(answerer.answers(wanted)), stub.asked


def test_every_prompt_is_answered_once_with_its_settings() -> None:
    found, asked = asked_of(lambda request: Act(f"answer to {request.text}"), prompts(20))
    assert {number: answer.text for number, answer in found.items()} == {
        number: f"answer to question {number}" for number in range(20)
    }
    assert len(asked) == 20
    for one in asked:
        assert {key: one.body[key] for key in ("model", "max_tokens", "temperature")} == {
            "model": "small", "max_tokens": 9, "temperature": 0,
        }  # fmt: skip


def test_images_arrive_without_loss_at_their_places(tmp_path: Path) -> None:
    image = Image.effect_noise((19, 13), 90).convert("RGB")
    image.save(tmp_path / "a.png")
    messages = (Message("system", ("Be brief.",)), *question("what?", (str(tmp_path / "a.png"),)))
    _, [asked] = asked_of(lambda request: Act("a cat"), [Prompt(messages)])
    system, user = asked.body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert [part["type"] for part in user["content"]] == ["image_url", "text"]
    sent = Image.open(BytesIO(base64.b64decode(asked.images[0].removeprefix("data:image/png;base64,"))))
    assert sent.tobytes() == image.tobytes()


def test_a_busy_server_is_asked_again_and_a_refusal_is_noted() -> None:
    def script(request: ReceivedRequest) -> Act:
        if request.text == "question 3":
            return Act("too long", status=400)
        return Act("fine") if request.times else Act("busy", status=429)

    found, asked = asked_of(script, prompts(5))
    assert [found[number].text for number in range(5)] == ["fine", "fine", "fine", "", "fine"]
    assert "refused" in found[3].note and "too long" in found[3].note
    assert len(asked) == 4 * 2 + 1


def test_a_server_that_is_down_ends_the_evaluation() -> None:
    with pytest.raises(RunError, match="consecutive questions got no answer"):
        asked_of(lambda request: Act("down", status=500), prompts(30))


def test_a_wrong_key_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        asked_of(lambda request: Act("no", status=401), prompts(3))


def test_an_evaluation_that_stops_reading_stops_asking() -> None:
    with listening(lambda request: Act("fine", after=0.01)) as stub:
        answers = EndpointAnswerer(ApiServer(stub.url), "small", workers=2, retries=QUICK).answers(prompts(500))
        assert len(list(islice(answers, 3))) == 3
        del answers  # closed as the program closes it that raises while it reads
        assert len(stub.asked) < 100
