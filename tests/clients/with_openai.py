"""OpenAI's Python client."""

from openai import BadRequestError, NotFoundError, OpenAI

from tests.clients.checks import IMAGE_MODEL, QUESTION, TEXT_MODEL, main

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def client(url: str) -> OpenAI:
    return OpenAI(base_url=url, api_key="none", max_retries=2)


def models(url: str, _: str) -> None:
    listed = [model.id for model in client(url).models.list()]
    assert {IMAGE_MODEL, TEXT_MODEL} == set(listed), listed
    assert client(url).models.retrieve(TEXT_MODEL).id == TEXT_MODEL
    try:
        client(url).models.retrieve("gpt-4o")
    except NotFoundError as error:
        assert error.code == "model_not_found"
    else:
        raise AssertionError("a model that does not exist was found")


def conversation(url: str, _: str) -> None:
    """The first answer is sent back as the object that came."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    for _turn in range(3):
        reply = client(url).chat.completions.create(model=TEXT_MODEL, messages=messages, max_completion_tokens=8)
        assert reply.choices[0].message.content and reply.usage
        messages += [reply.choices[0].message, {"role": "user", "content": "And then?"}]


def stream(url: str, _: str) -> None:
    asked = [{"role": "user", "content": QUESTION}]
    chunks = list(
        client(url).chat.completions.create(
            model=TEXT_MODEL, messages=asked, max_tokens=8, stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage


def image(url: str, shown: str) -> None:
    parts = [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": shown, "detail": "low"}}]
    asked = [{"role": "user", "content": parts}]
    assert client(url).chat.completions.create(model=IMAGE_MODEL, messages=asked, max_tokens=8).choices[0].message


def completion(url: str, _: str) -> None:
    reply = client(url).completions.create(model=TEXT_MODEL, prompt=QUESTION, max_tokens=4, echo=True, logprobs=1)
    assert reply.choices[0].text.startswith(QUESTION) and reply.choices[0].logprobs


def tools_refused(url: str, _: str) -> None:
    try:
        asked = [{"role": "user", "content": QUESTION}]
        client(url).chat.completions.create(model=TEXT_MODEL, messages=asked, tools=[TOOL])
    except BadRequestError as error:
        assert error.param == "tools" and "Switch tools" in error.message
    else:
        raise AssertionError("tools were accepted")


if __name__ == "__main__":
    main(
        "openai",
        {
            "list of models": models,
            "conversation": conversation,
            "stream": stream,
            "image": image,
            "text completion": completion,
            "tools refused by name": tools_refused,
        },
    )
