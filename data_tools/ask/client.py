"""One request to an OpenAI-compatible API, and the meaning of its response or error. Nothing is retried here."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field, ValidationError

from data_tools.ask.api_key import EMPTY_KEY, ApiKey
from data_tools.ask.bounded_body import REDIRECTS, InvalidBody, body_limit_hook, check_brackets
from llm.errors import ConfigError, EyegraftError, RunError

if TYPE_CHECKING:
    from openai import APIStatusError
    from openai.types.chat import ChatCompletionMessageParam

LONGEST_RETRY_AFTER = 600.0  # seconds; a server that demands more ends the run
CHOICES = 100  # of a response at most; one is requested
LONGEST_REASON = 300  # characters of a server's error message
PLACEHOLDER_KEY = "none"  # the client requires a key; servers without one ignore it
TEMPORARY_STATUS = (408, 409, 425, 429)  # and all from 500
REFUSED_STATUS = (400, 413, 422)  # for the content of one request, or for settings of all


class RequestFailed(Exception):
    """A request got no usable response; the message is the reason.

    Args:
        found: The reason.
        retry_after: Seconds that the server asked to wait.
        retry: False when a retry would fail in the same way at the same cost.
    """

    def __init__(self, found: str, retry_after: float = 0.0, retry: bool = True) -> None:
        super().__init__(found)
        self.retry_after, self.retry = retry_after, retry


class RequestRefused(Exception):
    """The server or the model refused the request; the message is the reason."""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of a request as the server counts them."""

    prompt: int = 0
    completion: int = 0

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(self.prompt + other.prompt, self.completion + other.completion)


NO_USAGE = TokenUsage()


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """A text and its finish reason: `stop`, `length`, `content_filter`, or `refusal` if the model refuses to answer."""

    text: str
    finish: str
    tokens: TokenUsage


@dataclass(frozen=True, slots=True)
class ApiServer:
    """The address of an API, its key and the environment variable it came from, and the timeout in seconds."""

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
    # Stops at the first error: a response could cause millions, each with its description.
    choices: list[_Choice] = Field(min_length=1, max_length=CHOICES, fail_fast=True)
    usage: _Usage | None = None


class ApiClient:
    """OpenAI's own client without its retries. ConfigError when the package is missing."""

    def __init__(self, server: ApiServer) -> None:
        try:
            import openai
        except ImportError as error:
            raise ConfigError("asking an API needs the package openai: pip install 'eyegraft[ask]'") from error
        self._server, self._openai = server, openai
        key = server.key.value or PLACEHOLDER_KEY
        http = openai.DefaultAsyncHttpxClient(
            timeout=server.timeout, max_redirects=REDIRECTS, event_hooks={"response": [body_limit_hook()]}
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
        """Close the connections."""
        await self._client.close()

    async def send(
        self, model: str, messages: "list[ChatCompletionMessageParam]", settings: Mapping[str, object]
    ) -> ApiAnswer:
        """Send one request. Raises RequestFailed, RequestRefused, or an EyegraftError if every request would fail.

        The API key is redacted from all messages.
        """
        try:
            # The client's timeout holds for each read: a server that sends a byte a second would never exceed it.
            async with asyncio.timeout(self._server.timeout):
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=model, messages=messages, extra_body=settings
                )
        except (self._openai.APITimeoutError, TimeoutError):
            raise RequestFailed(f"no answer within {self._server.timeout:g} s") from None
        except self._openai.APIConnectionError as error:
            raise RequestFailed(self._redacted(shortened(f"connection failed: {error.__cause__ or error}"))) from None
        except self._openai.APIStatusError as error:
            raise self._status_error(error) from None
        except self._openai.OpenAIError as error:
            raise RunError(self._redacted(f"{self._server.url}: {error}")) from None
        except InvalidBody as error:
            raise RequestFailed(f"{error} and was not read", retry=False) from None
        return self._completion(raw.http_response.content)

    def _completion(self, body: bytes) -> ApiAnswer:
        try:
            check_brackets(body)
            parsed = _CompletionBody.model_validate_json(body)
        except InvalidBody as error:
            raise RequestFailed(f"{error} and was not read", retry=False) from None
        except ValidationError:
            start = body[:80].decode("utf-8", "replace")
            raise RequestFailed(self._redacted(f"not a complete chat completion: {start!r}")) from None
        choice, usage = parsed.choices[0], parsed.usage or _Usage()
        tokens = TokenUsage(usage.prompt_tokens or 0, usage.completion_tokens or 0)
        if choice.message.refusal:
            return ApiAnswer(choice.message.refusal, "refusal", tokens)
        return ApiAnswer(choice.message.content or "", choice.finish_reason or "", tokens)

    def _status_error(self, error: "APIStatusError") -> RequestFailed | RequestRefused | EyegraftError:
        """The exception for an error status, with the server's message."""
        status, message = error.status_code, self._redacted(f"{error.status_code}: {_server_message(error)}")
        if error.code == "insufficient_quota":
            return RunError(f"{self._server.url}: the account has no quota left ({message}). Top it up and run again")
        if status in TEMPORARY_STATUS or status >= 500:
            seconds = retry_after(error.response.headers)
            if seconds <= LONGEST_RETRY_AFTER:
                return RequestFailed(message, seconds)
            return RunError(f"{self._server.url}: asks to wait {seconds:,.0f} s ({message}). Run again after that")
        if status in REFUSED_STATUS:
            return RequestRefused(message)
        return ConfigError(f"{self._server.url}: {message}. {self._advice(status)}")

    def _advice(self, status: int) -> str:
        if status == 401:
            return f"Put a key for this server into {self._server.key_env}, or name another variable with --key-env"
        if status == 403:
            return f"The key in {self._server.key_env} may not use this model, or not from this network"
        if status == 404:
            return "Correct --model, or --base-url, which usually ends in /v1"
        return "Correct --base-url, which usually ends in /v1"

    def _redacted(self, text: str) -> str:
        return self._server.key.redact(text)


def _server_message(error: "APIStatusError") -> str:
    """The server's error message in one line."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else body
    try:
        text = str(message or error.message)
    except RecursionError:  # deeply nested lists are no readable message
        text = error.message
    return shortened(" ".join(text.split()))


def shortened(text: str) -> str:
    """The text, cut at LONGEST_REASON."""
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a response asks to wait: Retry-After in seconds or as a date, or `retry-after-ms`; otherwise 0."""
    try:
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    except (KeyError, ValueError):
        pass
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # such as the year 99999999999
        return 0.0
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
