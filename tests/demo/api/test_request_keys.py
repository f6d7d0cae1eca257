"""Keys of other servers' requests: what asks for nothing is accepted, what is not offered is refused by name."""

from typing import Any

import pytest
from pydantic import ValidationError

from demo.api.chat_message import THOUGHTS
from demo.api.chat_request import ChatRequest, messages_of
from demo.api.request_keys import CHAT_KEYS, MESSAGE_KEYS, OTHER_NAMES, PART_KEYS
from demo.api.text_completion import CompletionRequest
from demo.server.limits import DEFAULT

Json = dict[str, Any]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {}}}
EMPTY: tuple[object, ...] = (None, False, 0, 0.0, "", [], {}, {"a": None, "b": {"c": 0}})


def request(message: Json | None = None, part: Json | None = None, **more: object) -> ChatRequest:
    """A request with these keys at each of its three levels."""
    content = [{"type": "text", "text": "Q"} | (part or {})]
    asked = {"role": "user", "content": content} | (message or {})
    return ChatRequest.model_validate({"model": "m", "messages": [asked]} | more)


def refusal(**asked: Any) -> tuple[str, str, str]:
    """Place, text and code of the one error of a request."""
    with pytest.raises(ValidationError) as caught:
        request(**asked)
    (error,) = caught.value.errors()
    own = error["ctx"]
    return ".".join(map(str, [*error["loc"], own["param"]])), own["text"], own["code"]


# What OpenAI's documentation gives as a default, and what clients send to ask for nothing.
NEUTRAL: list[tuple[str, object]] = [
    ("n", 1),
    ("tool_choice", "none"),
    ("tool_choice", "auto"),
    ("function_call", "auto"),
    ("n", "1"),
    ("frequency_penalty", "0"),
    ("presence_penalty", "0.0"),
    ("tool_choice", {"type": "none"}),
    ("logprobs", "false"),
    ("response_format", {"type": "text"}),
    ("response_format", {"type": "text", "json_schema": None}),
    ("response_format", "text"),
    ("modalities", ["text"]),
    ("logit_bias", {"50256": 0}),
    ("reasoning_effort", "medium"),
    ("reasoning_effort", "none"),
    ("verbosity", "medium"),
    ("thinking", {"type": "disabled"}),
    ("typical_p", 1.0),
    ("skip_special_tokens", True),
    ("chat_template_kwargs", {"enable_thinking": False}),
]


@pytest.mark.parametrize(("key", "value"), NEUTRAL)
def test_a_default_asks_for_nothing(key: str, value: object) -> None:
    assert request(**{key: value}).without_effect() == []


@pytest.mark.parametrize("key", [key for key, wish in CHAT_KEYS.wishes.items() if not wish.strict] + ["of_tomorrow"])
def test_an_empty_value_asks_for_nothing(key: str) -> None:
    for value in EMPTY:
        assert request(**{key: value}).without_effect() == []


@pytest.mark.parametrize(
    "key", sorted({*MESSAGE_KEYS.wishes, *MESSAGE_KEYS.no_effect, *PART_KEYS.no_effect, "of_tomorrow"})
)
def test_an_empty_value_in_a_message_or_part_asks_for_nothing(key: str) -> None:
    for value in EMPTY:
        assert request(message={key: value}).without_effect() == []
        if key not in ("images", "files", "type"):
            assert request(part={key: value}).without_effect() == []


# The keys of ChatCompletionCreateParams in OpenAI's SDK for Node (openai/openai-node 7b7d6ca, August 2026).
DOCUMENTED = [
    "messages", "model", "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
    "max_completion_tokens", "max_tokens", "metadata", "modalities", "moderation", "n", "parallel_tool_calls",
    "prediction", "presence_penalty", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
    "reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream",
    "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity",
    "web_search_options",
]  # fmt: skip


@pytest.mark.parametrize("key", DOCUMENTED)
def test_every_key_that_openai_documents_is_known(key: str) -> None:
    assert key in {*ChatRequest.model_fields, *CHAT_KEYS.wishes, *CHAT_KEYS.no_effect}


# key, value, part of the advice
WISHES: list[tuple[str, object, str]] = [
    ("tools", [TOOL], "Switch tools (functions, plugins, web search, agent mode) off in the chat program"),
    ("tool_choice", "required", "Switch tools"),
    ("tool_choice", {"type": "function", "function": {"name": "weather"}}, "Switch tools"),
    ("functions", [{"name": "weather"}], "Switch tools"),
    ("web_search_options", {}, "Switch tools"),
    ("response_format", {"type": "json_object"}, "Describe the form in the question"),
    ("response_format", {"type": "json_schema", "json_schema": {"name": "a"}}, "Describe the form"),
    ("n", 2, "2 is not offered here. Send the request again for another answer"),
    ("n", 0, "0 is not offered here"),
    ("frequency_penalty", 0.5, "0.5 is not offered here. Set it to 0; repetition_penalty is offered"),
    ("presence_penalty", -1, "-1 is not offered here"),
    ("logit_bias", {"50256": -100}, "an object is not offered here"),
    ("min_p", 0.05, "temperature, top_p and top_k are offered"),
    ("modalities", ["text", "audio"], "Answers are text"),
    ("audio", {"voice": "alloy", "format": "wav"}, "Answers are text"),
    ("reasoning_effort", "high", "'high' is not offered here. Switch thinking off in the chat program"),
    ("thinking", {"type": "enabled", "budget_tokens": 1024}, "Switch thinking off"),
    ("verbosity", "low", "Say in the question how long"),
    ("chat_template_kwargs", {"enable_thinking": True}, "an object is not offered here"),
    ("skip_special_tokens", False, "False is not offered here"),
    ("think", True, "Switch thinking off"),
    ("mirostat", 2, "temperature, top_p and top_k are offered"),
    ("guided_json", {"type": "object"}, "Describe the form in the question"),
    ("options", {"temperature": 0.5}, "Send its members as keys of the request"),
    ("input", "Q", "It belongs to the Responses API. Send messages to /v1/chat/completions"),
    ("truncation", "auto", "Start a new chat when the conversation has become too long"),
    ("plugins", [{"id": "web"}], "Switch tools"),
    ("repeat_last_n", 64, "Set it to -1: the penalty counts all tokens"),
    ("verbosity", "l" * 99, f"{'l' * 39}... is not offered here"),
]


@pytest.mark.parametrize(("key", "value", "advice"), WISHES)
def test_a_wish_that_is_not_offered_is_refused_by_name(key: str, value: object, advice: str) -> None:
    switch = {"repetition_penalty": 1.1} if key == "repeat_last_n" else {}
    place, text, code = refusal(**{key: value}, **switch)
    assert (place, code) == (key, "unsupported_parameter") and advice in text and " is not offered here. " in text


def test_true_is_not_the_number_one() -> None:
    assert refusal(n=True)[0] == "n"
    assert refusal(typical_p=True)[0] == "typical_p"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("max_token", "the server does not know this key. Did you mean max_tokens?"),
        ("Temperature", "the server does not know this key. Did you mean temperature?"),
        ("mood", "the server does not know this key. Leave it out"),
        ("x" * 10**6, "the server does not know this key. Leave it out"),
    ],
)
def test_an_unknown_key_that_asks_for_something_is_refused(key: str, text: str) -> None:
    assert refusal(**{key: 2}) == (key, text, "unknown_parameter")


def test_wishes_in_messages_and_parts_are_refused_at_their_place() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    assert refusal(message={"tool_calls": [call]})[0] == "messages.0.tool_calls"
    assert refusal(message={"images": ["AAAA"]})[1].endswith("Send images as content parts of type image_url, "
                                                             "everything else as text")  # fmt: skip
    assert refusal(message={"prefix": True})[0] == "messages.0.prefix"
    assert refusal(message={"mood": "good"})[2] == "unknown_parameter"
    assert refusal(part={"mood": "good"})[0] == "messages.0.content.0.mood"
    assert refusal(stream_options={"more": 1})[0] == "stream_options.more"


@pytest.mark.parametrize("kind", ["input_audio", "file", "tool_use", "x" * 10**6])
def test_other_kinds_of_content_are_refused_by_name(kind: str) -> None:
    place, text, code = refusal(message={"content": [{"type": kind, kind: {}}]})
    assert (place, code) == ("messages.0.content.0.type", "unsupported_value")
    offered = "Send texts, images as type image_url and videos as type video_url"
    assert text == f"a part of type {kind[:40]!r} is not offered here. {offered}"


@pytest.mark.parametrize(
    ("message", "place", "found"),
    [
        ({"role": "tool", "tool_call_id": "1"}, "messages.0.role.", "the server calls no tools"),
        ({"role": "function", "name": "weather"}, "messages.0.role.", "the server calls no tools"),
        ({"content": 3}, "messages.0.content.", "content is neither a text nor a list of parts"),
        ({"content": {"type": "text"}}, "messages.0.content.", "content is neither a text nor a list of parts"),
        ({"content": [{"type": {"a": 1}, "text": "Q"}]}, "messages.0.content.0.type", "is not a text"),
        ({"content": [{"type": "image_url"}]}, "messages.0.content.0.image_url", "is missing"),
        ({"content": [{"type": "text", "image_url": "x"}]}, "messages.0.content.0.image_url", "is in a part of type"),
    ],
)
def test_other_faults_of_a_message(message: Json, place: str, found: str) -> None:
    assert refusal(message=message)[0] == place and found in refusal(message=message)[1]


@pytest.mark.parametrize("role", ["human", "User", "", None, 3])
def test_an_unknown_role_is_refused_with_those_that_are_known(role: object) -> None:
    with pytest.raises(ValidationError, match="Input should be 'system', 'developer', 'user' or 'assistant'"):
        request(message={"role": role})


def test_what_changes_no_answer_is_accepted_and_named() -> None:
    asked = request(
        message={"name": "Ann", "annotations": [], "reasoning_content": "Hm."},
        part={"cache_control": {"type": "ephemeral"}},
        user="u", metadata={"a": "b"}, store=True, service_tier="auto", parallel_tool_calls=True, seed=None,
        safety_identifier="", prompt_cache_key=None,
    )  # fmt: skip
    assert asked.without_effect() == [
        "user", "metadata", "store", "service_tier", "parallel_tool_calls",
        "messages.name", "messages.reasoning_content", "messages.content.cache_control",
    ]  # fmt: skip


# name, value, the field of ours, its value there
RENAMED: list[tuple[str, object, str, object]] = [
    ("repeat_penalty", 1.1, "repetition_penalty", 1.1),
    ("max_new_tokens", 12, "max_tokens", 12),
    ("max_output_tokens", 12, "max_tokens", 12),
    ("n_predict", -1, "max_tokens", -1),
    ("num_predict", "12", "max_tokens", 12),
    ("random_seed", 3, "seed", 3),
    ("stop_sequences", ["a"], "stop", ["a"]),
    ("stop_sequences", [], "stop", None),
    ("n_predict", None, "max_tokens", None),
]


@pytest.mark.parametrize(("name", "value", "field", "read"), RENAMED)
def test_other_servers_names_of_keys_are_read(name: str, value: object, field: str, read: object) -> None:
    asked = request(**{name: value})
    assert getattr(asked, field) == read and asked.without_effect() == []


def test_every_other_name_is_tested_and_is_of_a_key_that_is_offered() -> None:
    assert {name for name, *_ in RENAMED} == OTHER_NAMES.keys()
    assert set(OTHER_NAMES.values()) <= ChatRequest.model_fields.keys() & CompletionRequest.model_fields.keys()


def test_a_key_under_two_names_has_one_value() -> None:
    assert request(max_tokens=5, n_predict=5).max_tokens == 5
    found = refusal(max_tokens=5, n_predict=6)
    assert found == ("n_predict", "is another name of max_tokens, with another value. Leave one out", "invalid_value")


@pytest.mark.parametrize("key", ["temperature", "max_tokens", "seed", "top_k", "n_predict"])
def test_true_is_no_number(key: str) -> None:
    assert refusal(**{key: True})[1:] == ("is true, which is no value of this key", "invalid_type")


def test_parts_of_what_is_not_asked_for_do_nothing() -> None:
    for part, switch in sorted(CHAT_KEYS.parts_of.items()):
        assert request(**{part: 2}).without_effect() == [part]
        assert request(**{part: 2, switch: 0}).without_effect() == [part]
        with pytest.raises(ValidationError):
            request(**{part: 2, switch: 1.5})


@pytest.mark.parametrize("kind", sorted(THOUGHTS))
def test_what_an_earlier_model_thought_is_not_read(kind: str) -> None:
    parts = [{"type": kind, kind: "Hm.", "signature": "x"}, {"type": "text", "text": "A."}]
    asked = ChatRequest.model_validate({"model": "m", "messages": [
        {"role": "user", "content": "Q"}, {"role": "assistant", "content": parts}, {"role": "user", "content": "R"},
    ]})  # fmt: skip
    assert [message.text for message in messages_of(asked, DEFAULT)] == ["Q", "A.", "R"]
    assert asked.without_effect() == ["messages.content.thinking"]


def test_tools_that_must_not_be_called_ask_for_nothing() -> None:
    assert request(tools=[TOOL], tool_choice="none").without_effect() == ["tools"]
    assert request(functions=[TOOL], function_call="none").without_effect() == ["functions"]
    assert request(tools=[TOOL], tool_choice={"type": "none"}).without_effect() == ["tools"]
    assert refusal(tools=[TOOL], tool_choice="auto")[0] == "tools"
    assert refusal(tools=[TOOL], function_call="none")[0] == "tools"
