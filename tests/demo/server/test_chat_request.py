"""Chat requests in OpenAI's format: every bound at its edge, defaults, sampling, messages and images."""

import base64
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from demo.server.chat_request import ChatRequest, messages_of, sampling_of
from demo.server.limits import DEFAULT, IMAGE, Limits
from llm.chat.sampling import Sampling
from llm.errors import ImageError, RecordError
from llm.formats.conversation import ImageRef, Message
from tests.data_tools.damage import image_bytes

Json = dict[str, Any]
IMAGE_DATA = image_bytes(size=(4, 4))
URL = "data:image/png;base64," + base64.b64encode(IMAGE_DATA).decode()


def said(content: object, role: str = "user") -> Json:
    return {"role": role, "content": content}


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def shown(url: str, **more: object) -> Json:
    return {"type": "image_url", "image_url": {"url": url} | more}


def request(*messages: Json, **more: object) -> ChatRequest:
    """A request with these messages, or with the question "Q"."""
    return ChatRequest.model_validate({"model": "m", "messages": [*messages] or [said("Q")]} | more)


def messages(*asked: Json, limits: Limits = DEFAULT) -> tuple[Message, ...]:
    return messages_of(request(*asked), limits)


# Bounds --------------------------------------------------------------------------------------------------------------

# key: valid values, invalid values
BOUNDS: dict[str, tuple[list[object], list[object]]] = {
    "model": (["", "m"], [None, 3]),
    "temperature": ([None, 0, 0.001, 2, 2.0], [-0.001, 2.001, float("nan"), float("inf"), "hot"]),
    "top_p": ([None, 1e-9, 0.5, 1], [0, -0.1, 1.001, float("nan")]),
    "top_k": ([None, -1, 0, 1, 10**6], [-2, 0.5]),
    "repetition_penalty": ([None, 0.001, 1, 2], [0, -1, 2.001, float("inf")]),
    "max_tokens": ([None, 1, 10**9], [0, -1, 1.5]),
    "max_completion_tokens": ([None, 1, 10**9], [0, -1, 1.5]),
    "seed": ([None, 0, 1, 2**63 - 1], [-1, 2**63, 0.5]),
    "stop": (
        [None, [], "a", "a" * 100, ["a"], ["a"] * 16, ["a" * 100]],
        ["", "a" * 101, [""], ["a", ""], ["a"] * 17, ["a" * 101], [3], 3],
    ),
    "n": ([1], [0, 2, None]),
    "stream": ([True, False], [None, "maybe"]),
    "stream_options": ([None, {}, {"include_usage": True}], [{"include_usage": "maybe"}, {"more": 1}, 3]),
    "user": ([None, "", "me"], [3]),
    "messages": (
        [[said("Q")], [said("Q")] * 200, [said([text("Q")] * 64)]],
        [[], [said("Q")] * 201, [said([text("Q")] * 65)], [{"role": "user"}], [{"content": "Q"}], ["Q"], "Q", None],
    ),
}


def test_every_key_of_the_request_is_tested() -> None:
    assert BOUNDS.keys() == ChatRequest.model_fields.keys()


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, (good, _) in BOUNDS.items() for value in good])
def test_valid_values_are_accepted(key: str, value: object) -> None:
    parsed = getattr(request(**{key: value}), key)
    assert (value is None) == (parsed is None)
    assert key != "stop" or not isinstance(value, str) or parsed == [value]
    if isinstance(value, int | float):
        assert parsed == value


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, (_, bad) in BOUNDS.items() for value in bad])
def test_the_error_for_an_invalid_value_names_its_key(key: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        request(**{key: value})
    assert {error["loc"][0] for error in caught.value.errors()} == {key}


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"tools": []}, ("tools",)),
        ({"messages": [said("Q") | {"name": "x"}]}, ("messages", 0, "name")),
        ({"messages": [said([text("Q") | {"x": 1}])]}, ("messages", 0, "content", "parts", 0, "text", "x")),
        ({"messages": [said([shown(URL) | {"x": 1}])]}, ("messages", 0, "content", "parts", 0, "image_url", "x")),
        (
            {"messages": [said([shown(URL, detail="best")])]},
            ("messages", 0, "content", "parts", 0, "image_url", "image_url", "detail"),
        ),
        ({"messages": [said([{"type": "video", "video": "x"}])]}, ("messages", 0, "content", "parts", 0)),
        ({"messages": [said(3)]}, ("messages", 0, "content", "text")),
        ({"messages": [said(None)]}, ("messages", 0, "content", "text")),
        ({"messages": [said({"type": "text", "text": "Q"})]}, ("messages", 0, "content", "text")),
        ({"messages": [said("Q", "tool")]}, ("messages", 0, "role")),
        ({"messages": [said("Q", "function")]}, ("messages", 0, "role")),
        ({"messages": [said("Q", "human")]}, ("messages", 0, "role")),
        ({"messages": [said("Q", "User")]}, ("messages", 0, "role")),
    ],
)
def test_unknown_keys_and_types_are_errors(change: Json, place: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        request(**change)
    assert [error["loc"] for error in caught.value.errors()] == [place]


@pytest.mark.parametrize("detail", ["auto", "low", "high"])
def test_image_detail_has_no_effect(detail: str) -> None:
    assert messages(said([shown(URL, detail=detail), text("Q")]))[0].parts == (ImageRef(data=IMAGE_DATA), "Q")


def test_validation_of_a_list_ends_at_the_first_error() -> None:
    """The collected errors of a long list took gigabytes."""
    for asked in ({"messages": [3, 3, 3]}, {"messages": [said([3, 3, 3])]}, {"stop": [3, 3, 3]}):
        with pytest.raises(ValidationError) as caught:
            request(**asked)
        assert caught.value.error_count() == 1


def test_defaults() -> None:
    assert request().model_dump() == {
        "model": "m",
        "messages": [{"role": "user", "content": "Q"}],
        "stream": False,
        "stream_options": None,
        "temperature": None,
        "top_p": None,
        "top_k": None,
        "repetition_penalty": None,
        "max_tokens": None,
        "max_completion_tokens": None,
        "seed": None,
        "stop": None,
        "n": 1,
        "user": None,
    }
    assert request(stream_options={}).model_dump()["stream_options"] == {"include_usage": False}


# Sampling ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "changes"),
    [
        ({}, {}),
        ({"temperature": 0}, {}),
        ({"temperature": 0.7}, {"temperature": 0.7}),
        ({"temperature": 2}, {"temperature": 2.0}),
        ({"top_p": 0.25}, {"top_p": 0.25}),
        ({"top_p": 1}, {}),
        ({"top_k": 5}, {"top_k": 5}),
        ({"top_k": 1}, {"top_k": 1}),
        ({"top_k": 0}, {}),
        ({"top_k": -1}, {}),
        ({"repetition_penalty": 0.5}, {"repetition_penalty": 0.5}),
        ({"repetition_penalty": 1}, {}),
        ({"max_tokens": 1}, {"max_new_tokens": 1}),
        ({"max_tokens": 99}, {"max_new_tokens": 99}),
        ({"max_tokens": 100}, {}),
        ({"max_tokens": 101}, {}),
        ({"max_completion_tokens": 7}, {"max_new_tokens": 7}),
        ({"max_completion_tokens": 101}, {}),
        ({"max_completion_tokens": 7, "max_tokens": 9}, {"max_new_tokens": 7}),
        ({"max_completion_tokens": 9, "max_tokens": 7}, {"max_new_tokens": 9}),
        ({"max_completion_tokens": None, "max_tokens": 9}, {"max_new_tokens": 9}),
        ({"seed": 5}, {"seed": 5}),
        ({"seed": 0}, {"seed": 0}),
        ({"seed": 2**63 - 1}, {"seed": 2**63 - 1}),
        ({"stop": "ab"}, {"stop": ("ab",)}),
        ({"stop": ["ab", "c"]}, {"stop": ("ab", "c")}),
        ({"stop": []}, {}),
    ],
)
def test_sampling_parameters(asked: Json, changes: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.server.chat_request.secrets.randbelow", lambda most: most - 4)
    plain = Sampling(0.0, 0, 1.0, 1.0, max_new_tokens=100, seed=2**31 - 4, stop=())
    assert sampling_of(request(**asked), 100) == replace(plain, **changes)


# Messages ------------------------------------------------------------------------------------------------------------


def test_roles_are_converted() -> None:
    for role in ("system", "developer"):
        assert messages(said("S", role), said("Q"), said("A", "assistant"), said("R")) == (
            Message("system", ("S",)),
            Message("user", ("Q",)),
            Message("assistant", ("A",)),
            Message("user", ("R",)),
        )


def test_parts_keep_their_order_but_trailing_images_move_to_the_front() -> None:
    seen = ImageRef(data=IMAGE_DATA)
    for parts, parsed in (
        ([text("Q")], ("Q",)),
        ([text("Q"), text("R")], ("Q", "R")),
        ([shown(URL), text("Q")], (seen, "Q")),
        ([text("Q"), shown(URL)], (seen, "Q")),
        ([text("Q"), text("R"), shown(URL), shown(URL)], (seen, seen, "Q", "R")),
        ([text("Q"), shown(URL), text("R")], ("Q", seen, "R")),
        ([shown(URL), text("Q"), shown(URL)], (seen, "Q", seen)),
        ([shown(URL)], (seen,)),
    ):
        assert messages(said(parts)) == (Message("user", parsed),)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ((said("Q"), said("A", "assistant")), "the request: message 3: is from assistant, not from user"),
        ((said("Q"), said("R")), "the request: message 2: is from user, not from assistant"),
        ((said("A", "assistant"),), "the request: message 1: is from assistant, not from user"),
        ((said("S", "system"),), "the request: message 2: is from assistant, not from user"),
        ((said("Q"), said("A", "assistant"), said("S", "system")), "message 3: is from system, not from user"),
        ((said(" "),), "the request: message 1 (user): is empty"),
        ((said([]),), "the request: message 1 (user): is empty"),
        ((said([shown(URL)], "system"), said("Q")), "message 1 (system): holds an image"),
    ],
)
def test_the_rules_of_a_record_hold_for_a_question(asked: tuple[Json, ...], found: str) -> None:
    with pytest.raises(RecordError) as caught:
        messages(*asked)
    assert found in str(caught.value)


def test_limits_of_messages_text_and_images_at_their_edges() -> None:
    talk = [said("Q"), said("A", "assistant")] * 2
    few = replace(DEFAULT, messages=3, text=6, images=2)
    assert len(messages(*talk[:3], limits=few)) == 3
    with pytest.raises(RecordError, match="messages: 5 of them, at most 3 are accepted. Start a new chat"):
        messages(*talk, said("Q"), limits=few)
    for words in ("12345", "123456"):
        assert messages(said(words), limits=few)[0].text == words
    assert len(messages(said("12"), said("34", "assistant"), said("56"), limits=few)) == 3
    for over in ((said("1234567"),), (said("12"), said("34", "assistant"), said("567"))):
        with pytest.raises(RecordError, match="messages: more than 6 characters"):
            messages(*over, limits=few)
    assert len(messages(said([shown(URL)] * 2), limits=few)[0].parts) == 2
    with pytest.raises(RecordError, match="message 3: more than 2 images"):
        messages(*talk[:2], said([shown(URL)] * 3), limits=few)
    each = [said([shown(URL)] * 2), said("A", "assistant"), said([shown(URL)] * 2)]
    assert len(messages(*each, limits=few)) == 3, "the limit holds per message"


# Images --------------------------------------------------------------------------------------------------------------

NO_URL = "an image that is not a data:image/...;base64,... URL. Send the image itself: no address is fetched"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        (URL.replace("data:image/png", "data:image/x-anything"), ""),
        (URL.replace("png;base64", "png;charset=x;base64"), ""),
        ("", NO_URL),
        ("data:", NO_URL),
        (URL.partition(",")[0], NO_URL),
        (URL.partition(",")[2], NO_URL),
        (URL.replace(";base64", ""), NO_URL),
        (URL.replace(";base64", ";base64x"), NO_URL),
        (URL.replace("image/", "text/"), NO_URL),
        (URL.replace("data:", "DATA:"), NO_URL),
        (f" {URL}", NO_URL),
        ("http://127.0.0.1/data:image/png;base64,AAAA", NO_URL),
        (f"{URL}*", "invalid base64"),
        (URL[:-1], "invalid base64"),
        (URL.replace(",", ",\n"), "invalid base64"),
        (URL.replace(",", ", "), "invalid base64"),
    ],
)
def test_images_must_be_data_urls(url: str, found: str) -> None:
    asked = (said("Q"), said("A", "assistant"), said([text("R"), shown(url)]))
    if not found:
        assert messages(*asked)[2].parts == (ImageRef(data=IMAGE_DATA), "R")
        return
    with pytest.raises(RecordError) as caught:
        messages(*asked)
    assert f"the request: message 3: {found}" in str(caught.value) or (
        found == "invalid base64" and "the request: message 3: an image in invalid base64 (" in str(caught.value)
    )


def test_the_size_limit_of_an_image_at_its_edge() -> None:
    for most, taken in ((len(IMAGE_DATA) + 1, True), (len(IMAGE_DATA), True), (len(IMAGE_DATA) - 1, False)):
        limits = replace(DEFAULT, image=replace(IMAGE, max_bytes=most))
        if taken:
            assert messages(said([shown(URL)]), limits=limits)[0].parts == (ImageRef(data=IMAGE_DATA),)
            continue
        with pytest.raises(
            ImageError, match=f"{len(IMAGE_DATA)} bytes; at most 20,000,000 pixels and {most} bytes are read"
        ):
            messages(said([shown(URL)]), limits=limits)


@pytest.mark.parametrize(("characters", "decoded"), [(132, True), (136, True), (140, False)])
def test_an_image_that_is_too_long_is_not_decoded(
    characters: int, decoded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For 99 bytes: 132 characters of base64, and four for rounding up, are 136."""
    taken: list[int] = []

    def counted(body: str, validate: bool) -> bytes:
        assert validate
        taken.append(len(body))
        return b"not an image"

    monkeypatch.setattr("demo.server.chat_request.base64.b64decode", counted)
    limits = replace(DEFAULT, image=replace(IMAGE, max_bytes=99))
    with pytest.raises(ImageError) as caught:
        messages(said([shown("data:image/png;base64," + "A" * characters)]), limits=limits)
    assert taken == ([characters] if decoded else [])
    assert decoded or str(caught.value) == "the image is larger than 99 bytes. Send a smaller copy"
