"""The API with fake models: context limits, usage, streams, and the format of every error."""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from demo.api.app import build_api
from demo.api.completion import event
from demo.server.generation_queue import Busy, GenerationQueue
from demo.server.limits import Limits
from demo.server.serving_metrics import ServingMetrics
from llm.chat.sampling import Sampling
from llm.errors import ModelError, TrainingError

ASKED = [{"role": "user", "content": "Q"}]
LIMITS = Limits(new_tokens=50)
CHAT = "/v1/chat/completions"


class Answer:
    """A fake reply with these pieces and this end."""

    prompt_tokens, completion_tokens = 7, 3
    began, token_times = 0.0, ()

    def __init__(self, *pieces: str, finish: str = "stop", error: Exception | None = None) -> None:
        self.pieces, self.finish, self.error = iter(pieces), finish, error

    def piece(self, _: float | None = None) -> str | None:
        piece = next(self.pieces, None)
        if piece is None and self.error:
            raise self.error
        return piece

    def stop(self) -> None:
        pass


class ChatModel:
    """A fake model with a context of 100 tokens, whose prompts all have `tokens` tokens."""

    context = 100

    def __init__(self, tokens: int = 7, answer: Callable[[], Answer] = lambda: Answer("Hé", "", "llo")) -> None:
        self.encoder = SimpleNamespace(prompt=lambda messages: ([0] * tokens, ()))
        self.answer, self.samplings = answer, list[Sampling]()

    def cannot_see(self, _: object) -> bool:
        return False

    def shown(self, messages: object) -> object:
        return messages

    def stream(self, messages: object, sampling: Sampling, *_: object) -> Answer:
        self.samplings.append(sampling)
        return self.answer()


def client(*chat_models: ChatModel, queue: Any = None) -> TestClient:
    named: Any = {f"m{number}": chat_model for number, chat_model in enumerate(chat_models)}
    app = build_api(queue or GenerationQueue(named, 8), frozenset({"localhost"}), limits=LIMITS)
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


def ask(chat_model: ChatModel, **more: object) -> Any:
    return client(chat_model).post(CHAT, json={"model": "m0", "messages": ASKED} | more)


@pytest.fixture(autouse=True)
def fixed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fixed time and id for every answer."""
    for module in ("app", "completion"):
        monkeypatch.setattr(f"demo.api.{module}.time", SimpleNamespace(time=lambda: 1234.9))
    monkeypatch.setattr("demo.api.completion.uuid", SimpleNamespace(uuid4=lambda: SimpleNamespace(hex="abc")))
    yield


def test_the_complete_response_body() -> None:
    assert ask(ChatModel()).json() == {
        "id": "chatcmpl-abc",
        "object": "chat.completion",
        "created": 1234,
        "model": "m0",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Héllo", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def chunk(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-abc", "object": "chat.completion.chunk", "created": 1234, "model": "m0"}
    return {**head, "choices": [choice]}


PIECES = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hé"}), chunk({"content": "llo"})]


def events_of(text: str) -> list[Any]:
    """The events of a stream."""
    assert text.endswith("\n\n")
    lines = [line.removeprefix("data: ") for line in text.removesuffix("\n\n").split("\n\n")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_the_events_of_a_stream(finish: str) -> None:
    def chat_model() -> ChatModel:
        return ChatModel(answer=lambda: Answer("Hé", "", "llo", finish=finish))

    for options in ({}, {"stream_options": None}, {"stream_options": {"include_usage": False}}):
        said = ask(chat_model(), stream=True, **options)
        assert events_of(said.text) == [*PIECES, chunk({}, finish), "[DONE]"]
        assert said.headers["content-type"].startswith("text/event-stream")
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    said = ask(chat_model(), stream=True, stream_options={"include_usage": True})
    last = {**PIECES[0], "choices": [], "usage": usage}
    pieces = [{**piece, "usage": None} for piece in (*PIECES, chunk({}, finish))]
    assert events_of(said.text) == [*pieces, last, "[DONE]"]


def test_an_interrupted_answer_is_an_error_without_a_finish_reason() -> None:
    stopped = {
        "message": "the answer was stopped before its end. Ask again",
        "type": "server_error",
        "param": None,
        "code": "stopped",
    }
    half = ask(ChatModel(answer=lambda: Answer("Hé", finish="")))
    assert (half.status_code, half.json()["error"]) == (503, stopped)
    half = ask(ChatModel(answer=lambda: Answer("Hé", finish="")), stream=True)
    assert [piece.get("error") for piece in events_of(half.text)] == [None, None, stopped]
    failed = ask(ChatModel(answer=lambda: Answer("Hé", error=TrainingError("not finite"))), stream=True)
    (*_, last) = events_of(failed.text)
    assert (last["error"]["message"], last["error"]["type"]) == ("not finite", "invalid_request_error")


@pytest.mark.parametrize(
    ("tokens", "status", "room"),
    [(1, 200, 50), (50, 200, 50), (51, 200, 49), (99, 200, 1), (100, 400, 0), (101, 400, 0)],
)
def test_the_answer_is_limited_to_the_rest_of_the_context(tokens: int, status: int, room: int) -> None:
    """The context is 100 tokens, and an answer has at most 50."""
    chat_model = ChatModel(tokens)
    answer = ask(chat_model)
    assert answer.status_code == status and [one.max_new_tokens for one in chat_model.samplings] == [room] * bool(room)
    if status == 400:
        assert answer.json()["error"] == {
            "message": f"the conversation is {tokens} tokens long, the model reads 100",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        }
    assert room < 2 or ask(ChatModel(tokens), max_tokens=2).status_code == 200


def test_models_are_listed_by_name() -> None:
    assert client(ChatModel(), ChatModel()).get("/v1/models").json() == {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 1234, "owned_by": "eyegraft"} for name in ("m0", "m1")],
    }
    assert client().get("/healthz").json() == {"status": "ok"}


def raising(error: Exception) -> Callable[[], Answer]:
    def answer() -> Answer:
        raise error

    return answer


@pytest.mark.parametrize(
    ("error", "status", "kind", "code", "param", "message"),
    [
        (Busy("full"), 429, "rate_limit_error", "busy", None, "full"),
        (ModelError("gone"), 503, "server_error", None, "model", "gone"),
        (KeyError("/secret"), 500, "server_error", None, None, "the server failed on this request; see its log"),
    ],
)
def test_errors_have_openais_format(
    error: Exception, status: int, kind: str, code: str | None, param: str | None, message: str
) -> None:
    answer = ask(ChatModel(answer=raising(error)))
    assert (answer.status_code, answer.json()) == (
        status,
        {"error": {"message": message, "type": kind, "param": param, "code": code}, "detail": message},
    )


@pytest.mark.parametrize(
    ("body", "status", "code", "param", "message"),
    [
        ({"model": "x"}, 404, "model_not_found", "model", "there is no model of that name; available: m0"),
        (
            {"messages": [{"role": "user", "content": ""}]},
            400,
            None,
            "messages",
            "message 1: is empty. Write a question",
        ),
        ({"n": 2}, 400, "unsupported_parameter", "n", "n: 2 is not offered here. Send the request again"),
        ({"messages": "Q"}, 400, None, "messages", "messages: is not a list"),
        ({"messages": ["Q"]}, 400, None, "messages.0", "messages.0: is not an object"),
        ({"model": None}, 400, None, "model", "model: is not a text"),
        ({"temperature": 3}, 400, None, "temperature", "temperature: Input should be less than or equal to 2"),
        (
            {"messages": [{"role": "user"}]},
            400,
            "missing_required_parameter",
            "messages.0.content",
            "messages.0.content: is missing. Send the text of the message",
        ),
    ],
)
def test_errors_name_the_invalid_parameter(
    body: dict[str, object], status: int, code: str | None, param: str, message: str
) -> None:
    answer = ask(ChatModel(), **body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"], error["param"]) == (
        status,
        "invalid_request_error",
        code,
        param,
    )
    assert message in error["message"]


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b"", "application/json", "the body is not a JSON object. Send one, with the header Content-Type"),
        (b"[]", "application/json", "the body is not a JSON object. Send one"),
        (b'"a"', "application/json", "the body is not a JSON object. Send one"),
        (
            b'{"model": "m0"',
            "application/json",
            "the body is not a JSON object: Expecting ',' delimiter at character 14",
        ),
        ('{"model": "é"}'.encode("latin-1"), "application/json", "the body is not a JSON object in UTF-8 that can be"),
    ],
)
def test_a_body_that_is_not_json(content: bytes, kind: str, message: str) -> None:
    answer = client(ChatModel()).post(CHAT, content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, None)
    assert answer.json()["detail"].startswith(message), answer.text


@pytest.mark.parametrize("kind", ["text/plain; charset=utf-8", "application/x-www-form-urlencoded", "", "jsonp"])
def test_a_body_of_another_type_is_named(kind: str) -> None:
    content = json.dumps({"model": "m0", "messages": ASKED}).encode()
    answer = client(ChatModel()).post(CHAT, content=content, headers={"content-type": kind} if kind else {})
    sent = f"as {kind.partition(';')[0]}" if kind else "without a Content-Type"
    expected = f"the body was sent {sent}. Send one, with the header Content-Type: application/json"
    assert (answer.status_code, answer.json()["detail"]) == (415, expected)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.api+json"])
def test_json_under_its_other_names_is_read(kind: str) -> None:
    content = json.dumps({"model": "m0", "messages": ASKED}).encode()
    assert client(ChatModel()).post(CHAT, content=content, headers={"content-type": kind}).status_code == 200


@pytest.mark.parametrize("coding", ["gzip", "br", "x" * 10**4])
def test_a_compressed_body_is_named(coding: str) -> None:
    one = client(ChatModel())
    answer = one.post(CHAT, content=b"\x1f\x8b", headers={"content-encoding": coding})
    expected = f"the body is compressed (Content-Encoding: {coding[:40]}). Send it as it is"
    assert (answer.status_code, answer.json()["detail"]) == (415, expected)
    plain = one.post(CHAT, json={"model": "m0", "messages": ASKED}, headers={"content-encoding": "identity"})
    assert plain.status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions/", "/v1//chat/completions", "//v1/chat//completions//", "/v1/completions/"]
)
def test_a_slash_too_many_is_left_out(path: str) -> None:
    one = client(ChatModel())
    body = {"model": "m0", "messages": ASKED} if "chat" in path else {"model": "m0"}
    answer = one.post(f"http://localhost{path}", json=body, follow_redirects=False)
    assert answer.status_code == (200 if "chat" in path else 400) and "prompt" in answer.text


def test_a_slash_too_many_is_left_out_of_what_is_read() -> None:
    models: Any = {"/a/b": ChatModel()}
    one = client(queue=GenerationQueue(models, 8))
    assert one.get("/v1/models/").json() == one.get("/v1/models").json()
    assert one.get("/healthz/").json() == {"status": "ok"}
    assert one.get("/v1/models//a/b").json()["id"] == "/a/b", "a path as a model's name keeps its slashes"


def test_unknown_paths_and_methods() -> None:
    one = client(ChatModel())
    for method, path, status, message in (
        ("GET", "/v1/x", 404, "there is nothing at GET /v1/x. The API is at /v1/models, /v1/chat/completions"),
        ("POST", "/chat/completions", 404, "there is nothing at POST /chat/completions. The API is at /v1/models"),
        (
            "POST", "/v1/responses", 404,
            "there is nothing at POST /v1/responses. The API is at /v1/models, /v1/chat/completions, /v1/completions. "
            "In a chat program choose an OpenAI-compatible service (chat completions), with the base URL "
            "http://localhost/v1",
        ),
        ("GET", "/v1/" + "x" * 2000, 404, f"there is nothing at GET /v1/{'x' * 96}. The API is at"),
        ("GET", CHAT, 405, f"{CHAT} does not take GET. Send POST"),
        ("POST", "/v1/models", 405, "/v1/models does not take POST. Send GET, HEAD"),
        ("GET", "/docs", 404, "there is nothing at GET /docs"),
    ):  # fmt: skip
        answer = one.request(method, path)
        error = answer.json()["error"]
        assert (answer.status_code, error["type"]) == (status, "invalid_request_error")
        assert error["message"].startswith(message) and error["code"] == ("unknown_url" if status == 404 else None)
        assert ("allow" in answer.headers) == (status == 405)


def test_a_single_model_and_one_that_does_not_exist() -> None:
    one = client(ChatModel(), ChatModel())
    expected = {"id": "m1", "object": "model", "created": 1234, "owned_by": "eyegraft"}
    assert one.get("/v1/models/m1").json() == expected
    answer = one.get("/v1/models/a/b, adapters off")
    message = "there is no model of that name; available: m0, m1"
    error = {"message": message, "type": "invalid_request_error", "param": "model", "code": "model_not_found"}
    assert (answer.status_code, answer.json()["error"]) == (404, error)
    models: Any = {f"a/b @ step-{number}": ChatModel() for number in range(25)}
    many = client(queue=GenerationQueue(models, 8))
    assert many.get("/v1/models/a/b @ step-7").json()["id"] == "a/b @ step-7"
    assert many.get("/v1/models/x").json()["detail"].endswith("a/b @ step-19 and 5 more: see /v1/models")


@pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/v1/models/m0"])
def test_what_can_be_read_answers_head(path: str) -> None:
    one = client(ChatModel())
    assert one.head(path).status_code == one.get(path).status_code == 200
    assert one.head("/v1/models/none").status_code == 404


@pytest.mark.parametrize(
    ("path", "methods"), [(CHAT, "POST"), ("/v1/models/m0", "GET, HEAD"), ("/healthz", "GET, HEAD")]
)
def test_options_lists_the_methods(path: str, methods: str) -> None:
    answer = client(ChatModel()).options(path)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, f"{methods}, OPTIONS", b"")
    assert client(ChatModel()).options("/v1/none").status_code == 404


def test_a_full_queue_is_reported_before_the_request_is_parsed() -> None:
    def refuse(visitor: str) -> None:
        raise Busy(f"full for {visitor}")

    full: Any = SimpleNamespace(check_capacity=refuse, chat_models={}, metrics=ServingMetrics())
    answer = client(queue=full).post(CHAT, json={"model": "none", "messages": [*ASKED, *ASKED]})
    assert (answer.status_code, answer.json()["detail"]) == (429, "full for testclient")


@pytest.mark.parametrize("stream", [False, True])
def test_the_response_names_the_keys_that_change_nothing(stream: bool) -> None:
    asked = [{"role": "user", "content": "Q", "name": "Ann"}]
    answer = ask(ChatModel(), stream=stream, messages=asked, metadata={"a": "b"}, store=True, user=None)
    assert answer.headers["eyegraft-no-effect"] == "metadata, store, messages.name"
    assert "eyegraft-no-effect" not in ask(ChatModel(), stream=stream).headers


def test_the_format_of_a_server_sent_event() -> None:
    assert event({"a": "é\n"}) == 'data: {"a": "é\\n"}\n\n'
