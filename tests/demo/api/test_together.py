"""Twelve clients at once over HTTP: none is lost, and each gets the answer that it would get alone."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from data_tools.ask.client import ApiServer
from data_tools.ask.endpoint_answerer import EndpointAnswerer
from demo.server.generation_queue import GenerationQueue
from demo.server.limits import Limits
from llm.chat import decode_loop
from llm.chat.chat_model import Decoding, question
from llm.chat.sampling import Sampling
from llm.formats.conversation import ImageRef, Message
from tests.demo.conftest import Server, data_url, noise_image, serve
from vlm.evaluate.answerer import Prompt
from vlm.evaluate.local_answerer import LocalAnswerer

LIMITS = Limits(new_tokens=16, waiting=4, together=8)
QUESTIONS = [f"What is it? {'really ' * (number % 5)}" for number in range(12)]


@pytest.fixture(scope="module")
def together(queue: GenerationQueue) -> Iterator[Server]:
    """A server of the session's models that answers eight at once and remembers prompts."""
    models = {name: replace(model, _decoding=Decoding()).remembering() for name, model in queue.chat_models.items()}
    shared = GenerationQueue(models, LIMITS.waiting, together=LIMITS.together)
    with contextmanager(serve)(shared, LIMITS) as server:
        yield server


@pytest.fixture
def widths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of each step."""
    seen: list[int] = []
    step = decode_loop.step_logits

    def counted(model: Any, cache: Any, tokens: list[int]) -> Any:
        seen.append(len(tokens))
        return step(model, cache, tokens)

    monkeypatch.setattr(decode_loop, "step_logits", counted)
    return seen


def content(number: int, image: bytes | None) -> list[dict[str, Any]]:
    shown = [{"type": "image_url", "image_url": {"url": data_url(image)}}] if image else []
    return [*shown, {"type": "text", "text": QUESTIONS[number]}]


def ask(server: Server, name: str, number: int, image: bytes | None) -> str:
    """A question, every other one streamed."""
    messages: Any = [{"role": "user", "content": content(number, image)}]
    given: dict[str, Any] = {"model": name, "messages": messages, "temperature": 0.0}
    if number % 2:
        return server.client.chat.completions.create(**given).choices[0].message.content or ""
    chunks = list(server.client.chat.completions.create(stream=True, **given))
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


@pytest.mark.parametrize("name", ["text", "eyes"])
def test_twelve_clients_at_once_get_the_answers_that_they_get_alone(
    together: Server, name: str, widths: list[int]
) -> None:
    """And again when their prompts and images are remembered."""
    images = [noise_image(number % 5) if name == "eyes" and number % 3 else None for number in range(12)]
    with ThreadPoolExecutor(12) as clients:
        found = list(clients.map(lambda number: ask(together, name, number, images[number]), range(12)))
        again = list(clients.map(lambda number: ask(together, name, number, images[number]), range(12)))
    assert again == found
    assert max(widths) > 1, "they were decoded together"
    model = together.queue.chat_models[name]
    for number, image in enumerate(images):
        asked = question(QUESTIONS[number])
        if image:
            asked = (Message("user", (ImageRef(data=image), QUESTIONS[number])),)
        assert found[number] == model.answer(asked, Sampling(max_new_tokens=16)), number
    assert together.queue.length == 0


@pytest.mark.parametrize("name", ["text", "eyes"])
def test_an_evaluation_over_the_api_is_that_of_the_model(together: Server, name: str) -> None:
    """To the question: the endpoint's answers are those of `eval` on the model itself, images included."""
    asked = []
    for number in range(12):
        image = (ImageRef(data=noise_image(number % 5)),) if name == "eyes" and number % 3 else ()
        asked.append(Prompt((Message("user", (*image, QUESTIONS[number])),), new_tokens=16))
    there = dict(EndpointAnswerer(ApiServer(f"{together.url}/v1"), name, workers=12).answers(asked))
    here = dict(LocalAnswerer(name, together.queue.chat_models[name], generate=True).answers(asked))
    assert there == here
    assert any(answer.text for answer in there.values())
