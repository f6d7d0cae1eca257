"""LangChain's chat model for OpenAI's API."""

from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI

from tests.clients.checks import IMAGE_MODEL, QUESTION, TEXT_MODEL, main


def model(url: str, name: str) -> Any:
    return ChatOpenAI(base_url=url, api_key="none", model=name, max_tokens=8, temperature=0)


def conversation(url: str, _: str) -> None:
    messages: list[Any] = [SystemMessage("Be brief."), HumanMessage(QUESTION)]
    for _turn in range(3):
        reply = model(url, TEXT_MODEL).invoke(messages)
        assert isinstance(reply, AIMessage) and reply.content and reply.usage_metadata
        messages += [reply, HumanMessage("And then?")]


def stream(url: str, _: str) -> None:
    assert "".join(str(chunk.content) for chunk in model(url, TEXT_MODEL).stream(QUESTION))


def batch(url: str, _: str) -> None:
    """Four questions at once: the queue holds them, and 429 is retried."""
    assert len(model(url, TEXT_MODEL).batch([QUESTION] * 4)) == 4


def image(url: str, shown: str) -> None:
    encoded = {"type": "image", "base64": shown.partition(",")[2], "mime_type": "image/png"}
    for part in ({"type": "image_url", "image_url": {"url": shown}}, encoded):
        assert model(url, IMAGE_MODEL).invoke([HumanMessage([{"type": "text", "text": QUESTION}, part])])


if __name__ == "__main__":
    main("langchain-openai", {"conversation": conversation, "stream": stream, "batch of 4": batch, "image": image})
