"""The bodies of chat programs and libraries are answered, and read as the conversation that their user sees."""

import json
from pathlib import Path

import httpx2 as httpx
import pytest

from demo.api.chat_request import ChatRequest, messages_of
from demo.server.limits import DEFAULT
from llm.formats.conversation import ImageRef, Message
from tests.demo.api.client_bodies import SOURCES, bodies
from tests.demo.conftest import Server, data_url, noise_image

DOCS = Path(__file__).parents[3] / "docs" / "reference"
IMAGE = noise_image(1)
BODIES = bodies(data_url(IMAGE))
# What the model reads where it is not the plain talk; `<image>` for the image.
PLAIN = ["user:What is it?", "assistant:A cat.", "user:And then?"]
READ = {
    "Open WebUI, title of a chat": ["user:What is it?"],
    "Continue, after an error": ["user:What is it?\n\nAnd then?"],
    "two devices at once": ["user:What is it?\n\nAnd then?"],
    "AnythingLLM": ["user:What is it?", "assistant:A cat.", "user:<image>What is it?"],
    "SillyTavern": ["system:Be Ann.\n\n[Start a new Chat]\n\nStay in character.", "assistant:Hi!", "user:What is it?"],
}
SEEN = {client for client, body in BODIES.items() if "data:image" in json.dumps(body["messages"][:2])}


def written(message: Message) -> str:
    parts = ("<image>" if isinstance(part, ImageRef) else part for part in message.parts)
    return f"{message.role}:{''.join(parts)}"


@pytest.mark.parametrize("client", BODIES)
def test_a_body_is_read_as_its_conversation(client: str) -> None:
    read = [written(one) for one in messages_of(ChatRequest.model_validate({"model": "m"} | BODIES[client]), DEFAULT)]
    turns = [one for one in read if client == "SillyTavern" or not one.startswith("system:")]
    plain = [*PLAIN]
    plain[0] = plain[0].replace(":", ":<image>") if client in SEEN else plain[0]
    assert turns == READ.get(client, plain)
    assert read[0] in ("system:Be brief.", turns[0])


@pytest.mark.parametrize("client", BODIES)
def test_a_body_is_answered(server: Server, client: str) -> None:
    body = {"model": "eyes"} | BODIES[client]
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    if not body.get("stream"):
        (choice,) = answer.json()["choices"]
        assert choice["finish_reason"] in ("stop", "length") and isinstance(choice["message"]["content"], str)
        return
    *chunks, last = [line.removeprefix("data: ") for line in answer.text.strip().split("\n\n")]
    assert last == "[DONE]"
    choices = [choice for chunk in map(json.loads, chunks) for choice in chunk["choices"]]
    assert choices[0]["delta"]["role"] == "assistant" and choices[-1]["finish_reason"] in ("stop", "length")


def test_the_bodies_are_of_many_clients_and_some_send_images() -> None:
    assert len({client.partition(",")[0] for client in BODIES} & SOURCES.keys()) >= 15
    assert len(SEEN) >= 5


def test_the_source_of_every_client_is_named_in_the_docs() -> None:
    """The page of clients lists the same repositories and commits."""
    for page in ("clients.md", "clients.zh.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        for client, source in SOURCES.items():
            repository = source.partition(":")[0]
            assert client in text and repository in text, (page, client)
