"""Chat requests in OpenAI's format: every bound at its edge, defaults, sampling, and forms of messages."""

import base64
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from demo.api.chat_request import ChatRequest, messages_of, sampling_of
from demo.server.limits import DEFAULT, Limits
from demo.server.visitor_errors import RequestError
from llm.chat.sampling import Sampling
from llm.formats.conversation import ImageRef, Message
from tests.data_tools.damage import image_bytes

Json = dict[str, Any]
IMAGE_DATA = image_bytes(size=(4, 4))
URL = "data:image/png;base64," + base64.b64encode(IMAGE_DATA).decode()


def said(content: object, role: str = "user") -> Json:
    return {"role": role, "content": content}


def text(words: str | None) -> Json:
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
    "top_p": ([None, 0, 1e-9, 0.5, 1], [-0.1, 1.001, float("nan")]),
    "top_k": ([None, -1, 0, 1, 10**6], [-2, 0.5]),
    "repetition_penalty": ([None, 0, 0.001, 1, 2], [-1, 2.001, float("inf")]),
    "max_tokens": ([None, -1, 0, 1, 10**9], [-2, 1.5]),
    "max_completion_tokens": ([None, -1, 0, 1, 10**9], [-2, 1.5]),
    "seed": ([None, -(2**63), -1, 0, 1, 2**63 - 1], [-(2**63) - 1, 2**63, 0.5]),
    "stop": (
        [None, [], "", [""], "a", "a" * 100, ["a"], ["a"] * 16, ["a" * 100], ["a", None, ""]],
        ["a" * 101, ["a"] * 17, ["a" * 101], [3], 3],
    ),
    "stream": ([None, True, False], ["maybe"]),
    "stream_options": ([None, {}, {"include_usage": True}, {"include_usage": None}], [{"include_usage": "maybe"}, 3]),
    "logprobs": ([None, True, False], ["maybe", 3]),
    "top_logprobs": ([None, 0], [-1, 21, 1.5]),
    "messages": (
        [[said("Q")], [said("Q")] * 200, [said([text("Q")] * 64)], [said(None)], [said([])], [said("Q") | {"x": None}]],
        [[], [said("Q")] * 2001, [said([text("Q")] * 65)], [{"role": "user"}], [{"content": "Q"}], ["Q"], "Q", None],
    ),
}


def test_every_key_of_the_request_is_tested() -> None:
    assert BOUNDS.keys() == ChatRequest.model_fields.keys()


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, (good, _) in BOUNDS.items() for value in good])
def test_valid_values_are_accepted(key: str, value: object) -> None:
    parsed = getattr(request(**{key: value}), key)
    assert (value in (None, "", [], {}, False) and value != 0) <= (parsed is None or key == "model")
    assert key != "stop" or not isinstance(value, str) or not value or parsed == [value]
    if isinstance(value, int | float) and value is not False:
        assert parsed == value


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, (_, bad) in BOUNDS.items() for value in bad])
def test_the_error_for_an_invalid_value_names_its_key(key: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        request(**{key: value})
    assert {error["loc"][0] for error in caught.value.errors()} == {key}


@pytest.mark.parametrize("detail", ["auto", "low", "high", "original", "", None])
def test_image_detail_has_no_effect(detail: str | None) -> None:
    assert messages(said([shown(URL, detail=detail), text("Q")]))[0].parts == (ImageRef(data=IMAGE_DATA), "Q")
    with pytest.raises(ValidationError, match="Input should be 'auto', 'low', 'high', 'original' or ''"):
        request(said([shown(URL, detail="best")]))


@pytest.mark.parametrize("key", sorted(BOUNDS.keys() - {"model", "messages"}))
@pytest.mark.parametrize("value", [None, "", [], {}, False])
def test_an_empty_value_of_an_optional_key_asks_for_nothing(key: str, value: object) -> None:
    assert getattr(request(**{key: value}), key) is None


def test_validation_of_a_list_ends_at_the_first_error() -> None:
    """The collected errors of a long list took gigabytes."""
    for asked in ({"messages": [3, 3, 3]}, {"messages": [said([3, 3, 3])]}, {"stop": [3, 3, 3]}):
        with pytest.raises(ValidationError) as caught:
            request(**asked)
        assert caught.value.error_count() == 1


def test_defaults() -> None:
    asked = request()
    assert {name: value for name, value in asked if value is not None} == {"model": "m", "messages": asked.messages}
    assert not asked.includes_usage and not request(stream_options={}).includes_usage
    assert request(stream_options={"include_usage": True}).includes_usage


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
        ({"top_p": 0, "temperature": 1}, {}),
        ({"temperature": 1}, {"temperature": 1.0}),
        ({"top_k": 5}, {"top_k": 5}),
        ({"top_k": 1}, {"top_k": 1}),
        ({"top_k": 0}, {}),
        ({"top_k": -1}, {}),
        ({"repetition_penalty": 0.5}, {"repetition_penalty": 0.5}),
        ({"repetition_penalty": 1}, {}),
        ({"repetition_penalty": 0}, {}),
        ({"max_tokens": 0}, {}),
        ({"max_tokens": -1}, {}),
        ({"max_completion_tokens": 0, "max_tokens": 9}, {}),
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
        ({"seed": -1}, {}),
        ({"seed": -2}, {"seed": -2}),
        ({"seed": 2**63 - 1}, {"seed": 2**63 - 1}),
        ({"stop": "ab"}, {"stop": ("ab",)}),
        ({"stop": ["ab", "c"]}, {"stop": ("ab", "c")}),
        ({"stop": []}, {}),
        ({"stop": ""}, {}),
        ({"stop": ["", "ab"]}, {"stop": ("ab",)}),
    ],
)
def test_sampling_parameters(asked: Json, changes: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.api.chat_request.secrets.randbelow", lambda most: most - 4)
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
    "parts",
    [
        [{"type": "input_text", "text": "Q"}, {"type": "input_image", "image_url": URL, "detail": "auto"}],
        [{"type": "image_url", "image_url": URL}, "Q"],
        [text(""), shown(URL), text("Q")],
        [{"type": "image", "image": URL}, text("Q")],
        [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": URL[22:]}}, text("Q")],
        [{"type": "image", "source": {"type": "url", "url": URL}}, text("Q")],
        [text(None), text("Q"), shown(URL, detail=None)],
        [{"type": "image_url", "image_url": {"url": URL}, "text": None}, text("Q") | {"image_url": None}],
        [{"image_url": {"url": URL, "format": "image/png"}}, {"text": "Q"}],
        [{"type": "image", "base64": URL[22:], "mime_type": "image/png"}, text("Q") | {"tool_call_ids": ["1"]}],
        [{"type": "image", "source_type": "base64", "data": URL[22:], "mime_type": "image/png"}, text("Q")],
        [{"type": "image", "source_type": "url", "url": URL}, text("Q")],
        [{"type": "image", "image_url": {"url": URL}}, text("Q")],
    ],
)
def test_other_forms_of_parts(parts: list[Json]) -> None:
    assert messages(said(parts)) == (Message("user", (ImageRef(data=IMAGE_DATA), "Q")),)


def test_an_assistants_refusal_is_its_answer() -> None:
    for answer in (
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "assistant", "refusal": "No."},
        said([{"type": "refusal", "refusal": "No."}], "assistant"),
        said([{"type": "output_text", "text": "No.", "annotations": []}], "assistant"),
    ):
        assert messages(said("Q"), answer, said("R"))[1] == Message("assistant", ("No.",))


def test_limits_of_messages_text_and_images_at_their_edges() -> None:
    talk = [said("Q"), said("A", "assistant")] * 2
    few = replace(DEFAULT, messages=3, text=6, images=2)
    assert len(messages(*talk[:3], limits=few)) == 3
    with pytest.raises(RequestError, match="messages: 5 of them, at most 3 are accepted. Start a new chat"):
        messages(*talk, said("Q"), limits=few)
    for words in ("12345", "123456"):
        assert messages(said(words), limits=few)[0].text == words
    assert len(messages(said("12"), said("34", "assistant"), said("56"), limits=few)) == 3
    for over in ((said("1234567"),), (said("12"), said("34", "assistant"), said("567"))):
        with pytest.raises(RequestError, match="messages: more than 6 characters"):
            messages(*over, limits=few)
    assert len(messages(said([shown(URL)] * 2), limits=few)[0].parts) == 2
    with pytest.raises(RequestError, match="message 3: more than 2 images"):
        messages(*talk[:2], said([shown(URL)] * 3), limits=few)
    each = [said([shown(URL)] * 2), said("A", "assistant"), said([shown(URL)] * 2)]
    assert len(messages(*each, limits=few)) == 3, "the limit holds per message"
