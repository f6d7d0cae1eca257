"""One request to an OpenAI-compatible API, and what its answer or its failure means. Nothing is asked again here."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field, ValidationError

from data_tools.ask.api_key import EMPTY_KEY, ApiKey
from data_tools.ask.bounded_body import REDIRECTS, InvalidBody, bounding, check_brackets
from llm.errors import ConfigError, EyegraftError, RunError

if TYPE_CHECKING:
    from openai import APIStatusError
    from openai.types.chat import ChatCompletionMessageParam

LONGEST_REST = 600.0  # seconds; a server that asks for more is done with us for today
CHOICES = 100  # of an answer; one is asked for
LONGEST_REASON = 300  # characters of what a server says of a failure
PLACEHOLDER_KEY = "none"  # the client wants a key; servers without one do not look at it
TEMPORARY = (408, 409, 425, 429)  # and all from 500 on
ITS_OWN_FAULT = (400, 413, 422)  # about the content of one request, or about every one


class RequestFailed(Exception):
    """A failure that may pass: why, and for how many seconds the server asked to be left alone.

    `again` is False for what another request would only repeat at the same cost.
    """

    def __init__(self, found: str, rest: float = 0.0, again: bool = True) -> None:
        super().__init__(found)
        self.rest, self.again = rest, again


class RequestRefused(Exception):
    """The server understood and does not want this request: why."""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """What an answer cost, as the server counts."""

    prompt: int = 0
    completion: int = 0

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(self.prompt + other.prompt, self.completion + other.completion)


NO_USAGE = TokenUsage()


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model said and why it ended: stop, length, content_filter; refusal when it says that it will not."""

    text: str
    finish: str
    tokens: TokenUsage


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Where the API is and how long it may take; `key_env` is the variable that its key came from."""

    url: str
    key: ApiKey = EMPTY_KEY
    key_env: str = "OPENAI_API_KEY"
    timeout: float = 120.0


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _CompletionBody(BaseModel):
    # One fault is enough: a server could make millions of them, each with its description.
    choices: list[_Choice] = Field(min_length=1, max_length=CHOICES, fail_fast=True)
    usage: _Usage | None = None


class ApiClient:
    """OpenAI's own client with its retries off. ConfigError when the package is missing."""

    def __init__(self, server: ApiServer) -> None:
        try:
            import openai
        except ImportError as error:
            raise ConfigError("data ask needs the package openai: pip install 'eyegraft[ask]'") from error
        self._server, self._openai = server, openai
        key = server.key.value or PLACEHOLDER_KEY
        http = openai.DefaultAsyncHttpxClient(
            timeout=server.timeout, max_redirects=REDIRECTS, event_hooks={"response": [bounding()]}
        )
        self._client = openai.AsyncOpenAI(
            api_key=key,
            base_url=server.url,
            max_retries=0,
            timeout=server.timeout,
            default_headers={"Accept-Encoding": "identity"},
            http_client=http,
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def send(
        self, model: str, messages: "list[ChatCompletionMessageParam]", settings: Mapping[str, object]
    ) -> Completion:
        """One answer. Raises Fault, Refused, or an EyegraftError where no other request would fare better.

        No exception from here names the key: what the client and the server say is not passed on unread.
        """
        try:
            # The client's own timeout is one for each read: a server that sends a byte a second would never meet it.
            async with asyncio.timeout(self._server.timeout):
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=model, messages=messages, extra_body=settings
                )
        except (self._openai.APITimeoutError, TimeoutError):
            raise RequestFailed(f"no answer within {self._server.timeout:g} s") from None
        except self._openai.APIConnectionError as error:
            raise RequestFailed(self._hidden(shortened(f"connection failed: {error.__cause__ or error}"))) from None
        except self._openai.APIStatusError as error:
            raise self._judged(error) from None
        except self._openai.OpenAIError as error:
            raise RunError(self._hidden(f"{self._server.url}: {error}")) from None
        except InvalidBody as error:
            raise RequestFailed(f"{error} and was not read", again=False) from None
        return self._reply(raw.http_response.content)

    def _reply(self, body: bytes) -> Completion:
        try:
            check_brackets(body)
            completion = _CompletionBody.model_validate_json(body)
        except InvalidBody as error:
            raise RequestFailed(f"{error} and was not read", again=False) from None
        except ValidationError:
            start = body[:80].decode("utf-8", "replace")
            raise RequestFailed(self._hidden(f"not a chat completion, or half of one: {start!r}")) from None
        choice, usage = completion.choices[0], completion.usage or _Usage()
        tokens = TokenUsage(usage.prompt_tokens or 0, usage.completion_tokens or 0)
        if choice.message.refusal:
            return Completion(choice.message.refusal, "refusal", tokens)
        return Completion(choice.message.content or "", choice.finish_reason or "", tokens)

    def _judged(self, error: "APIStatusError") -> RequestFailed | RequestRefused | EyegraftError:
        """What a status says; the message is the server's, without the key."""
        status, said = error.status_code, self._hidden(f"{error.status_code}: {_said(error)}")
        if error.code == "insufficient_quota":
            return RunError(f"{self._server.url}: the account has no quota left ({said}). Top it up, then go on")
        if status in TEMPORARY or status >= 500:
            rest = rest_of(error.response.headers)
            if rest <= LONGEST_REST:
                return RequestFailed(said, rest)
            return RunError(f"{self._server.url}: asks to come back in {rest:,.0f} s ({said}). Go on then")
        if status in ITS_OWN_FAULT:
            return RequestRefused(said)
        return ConfigError(f"{self._server.url}: {said}. {self._advice(status)}")

    def _advice(self, status: int) -> str:
        if status == 401:
            return f"Put a key of this server into {self._server.key_env}, or name its variable with --key-env"
        if status == 403:
            return f"The key in {self._server.key_env} may not use this model, or not from here"
        if status == 404:
            return "Correct --model, or --base-url, which mostly ends in /v1"
        return "Correct --base-url, which mostly ends in /v1"

    def _hidden(self, text: str) -> str:
        return self._server.key.hide(text)


def _said(error: "APIStatusError") -> str:
    """The server's own message, one line of it."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else body
    try:
        text = str(message or error.message)
    except RecursionError:  # lists inside lists: no message that anybody could read
        text = error.message
    return shortened(" ".join(text.split()))


def shortened(text: str) -> str:
    """The text, or as much of it as a reason for a failure may take."""
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."


def rest_of(headers: Mapping[str, str]) -> float:
    """Seconds that a response asks to wait: Retry-After in seconds or as a date, or OpenAI's milliseconds; else 0."""
    try:
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    except (KeyError, ValueError):
        pass
    said = headers.get("retry-after", "")
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(said)
    except (ValueError, OverflowError):  # the year 99999999999 overflows
        return 0.0
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
