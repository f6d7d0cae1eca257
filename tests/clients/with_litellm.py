"""LiteLLM, as a library that sends to an OpenAI-compatible address."""

from typing import Any

import litellm

from tests.clients.checks import IMAGE_MODEL, QUESTION, TEXT_MODEL, main


def ask(url: str, model: str, messages: list[Any], **more: Any) -> Any:
    return litellm.completion(model=f"openai/{model}", api_base=url, api_key="none", messages=messages, **more)


def conversation(url: str, _: str) -> None:
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    for _turn in range(3):
        reply = ask(url, TEXT_MODEL, messages, max_tokens=8, temperature=0.7, seed=1, stop=["\n\n\n"])
        assert reply.choices[0].message.content and reply.usage.total_tokens
        messages += [reply.choices[0].message.model_dump(), {"role": "user", "content": "And then?"}]


def stream(url: str, _: str) -> None:
    chunks = list(ask(url, TEXT_MODEL, [{"role": "user", "content": QUESTION}], max_tokens=8, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def image(url: str, shown: str) -> None:
    parts = [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": shown}]
    assert ask(url, IMAGE_MODEL, [{"role": "user", "content": parts}], max_tokens=8).choices[0].message


def completion(url: str, _: str) -> None:
    model = f"text-completion-openai/{TEXT_MODEL}"
    reply: Any = litellm.text_completion(model=model, api_base=url, api_key="none", prompt=QUESTION, max_tokens=4)
    assert reply.choices[0].text


if __name__ == "__main__":
    main(
        "litellm",
        {"conversation": conversation, "stream": stream, "image": image, "text completion": completion},
    )
