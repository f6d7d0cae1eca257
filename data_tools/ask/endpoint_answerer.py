"""An OpenAI-compatible API answers benchmark questions, so that models elsewhere can be compared."""

import asyncio
import base64
import io
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING

from data_tools.ask.client import ApiClient, ApiServer, RequestFailed, RequestRefused
from data_tools.ask.rate_limit import DEFAULT_RETRIES, RateLimiter, RetryPolicy, SendingStopped
from llm.errors import EyegraftError, ImageError, RunError
from llm.formats.conversation import ImageRef, Message, MessagePart, VideoRef
from vlm.evaluate.answerer import Answer, Prompt

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionContentPartParam, ChatCompletionMessageParam

WORKERS = 8  # requests at once
GIVE_UP = 10  # consecutive prompts without an answer: the server is down
Found = tuple[int, Answer] | BaseException | None
"""An answer, the error that ended the work, or None at the end."""


class EndpointAnswerer:
    """Asks `model` at a server greedily; images are sent as PNG, choices are answered by texts."""

    def __init__(
        self, server: ApiServer, model: str, workers: int = WORKERS, retries: RetryPolicy = DEFAULT_RETRIES
    ) -> None:
        self._server, self._model, self._workers, self._retries = server, model, workers, retries

    @property
    def name(self) -> str:
        """The model and where it is."""
        return f"{self._model} at {self._server.url}"

    def answers(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Answer]]:
        """As `Answerer.answers`. A prompt that the server refuses gets an empty answer with the reason as its note.

        Raises ConfigError for an address, a key or a model that the server does not accept, and RunError when it
        answers nothing for a while. What was answered until then was yielded.
        """
        found: SimpleQueue[Found] = SimpleQueue()
        work = _Work(prompts, found, self._model, self._retries)
        thread = threading.Thread(target=work.run, args=(self._server, self._workers), daemon=True)
        thread.start()
        try:
            while (one := found.get()) is not None:
                if isinstance(one, BaseException):
                    raise one
                yield one
        finally:
            work.stop()
            thread.join()


class _Work:
    """The requests of one evaluation, sent by an event loop in a thread of its own."""

    def __init__(
        self, prompts: Sequence[Prompt], found: "SimpleQueue[Found]", model: str, retries: RetryPolicy
    ) -> None:
        self._prompts, self._found, self._model, self._retries = prompts, found, model, retries
        self._waiting = deque(range(len(prompts)))
        self._unanswered = 0
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Send nothing more."""
        self._stopped.set()

    def run(self, server: ApiServer, workers: int) -> None:
        """Answer all prompts, or stop; the queue's last item says how it ended."""
        ended: Found = None
        try:
            asyncio.run(self._run(server, workers))
        except* EyegraftError as errors:
            ended = errors.exceptions[0]
        finally:
            self._found.put(ended)

    async def _run(self, server: ApiServer, workers: int) -> None:
        client, limiter = ApiClient(server), RateLimiter()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(workers, len(self._waiting))):
                    group.create_task(self._worker(client, limiter))
        finally:
            await client.close()

    async def _worker(self, client: ApiClient, limiter: RateLimiter) -> None:
        while self._waiting and not self._stopped.is_set():
            number = self._waiting.popleft()
            try:
                answer = await self._answer(client, limiter, self._prompts[number])
            except SendingStopped:
                return
            if not self._stopped.is_set():
                self._found.put((number, answer))

    async def _answer(self, client: ApiClient, limiter: RateLimiter, prompt: Prompt) -> Answer:
        messages = await asyncio.to_thread(as_api_messages, prompt)
        settings = {"max_tokens": prompt.new_tokens, "temperature": 0, "seed": 0}
        failures = 0
        while True:
            await limiter.acquire()
            try:
                found = await client.send(self._model, messages, settings)
            except RequestRefused as refusal:
                return Answer("", note=f"the server refused it: {refusal}")
            except RequestFailed as failure:
                failures += 1
                if not failure.retry or failures > self._retries.retries or self._stopped.is_set():
                    return self._given_up(failure)
                if failure.retry_after:
                    limiter.pause(failure.retry_after)
                await limiter.sleep(max(failure.retry_after, self._retries.delay(failures)))
                continue
            self._unanswered = 0
            return Answer(found.text)

    def _given_up(self, failure: RequestFailed) -> Answer:
        self._unanswered += 1
        if self._unanswered >= GIVE_UP:
            raise RunError(
                f"{self._unanswered} consecutive questions got no answer; the last: {failure}. Check the server, then "
                "run the same command"
            )
        return Answer("", note=f"the server gave no answer: {failure}")


def as_api_messages(prompt: Prompt) -> "list[ChatCompletionMessageParam]":
    """The messages as the API takes them: images as data URLs, each at its place in the text."""
    return [_message(message) for message in prompt.messages]


def _message(message: Message) -> "ChatCompletionMessageParam":
    if message.role == "user":
        return {"role": "user", "content": [_part(part) for part in message.parts]}
    if message.role == "system":
        return {"role": "system", "content": message.text}
    return {"role": "assistant", "content": message.text}


def _part(part: MessagePart) -> "ChatCompletionContentPartParam":
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if isinstance(part, VideoRef):
        advice = "Ask a model folder or a run, or leave the question out"
        raise ImageError("videos are not sent to an endpoint", advice, part.path, "video-in-run")
    return {"type": "image_url", "image_url": {"url": png_url(part)}}


def png_url(image: ImageRef) -> str:
    """An image as training reads it, without loss, as a data URL. Raises ImageError."""
    from vlm.vision.images import read_image  # Pillow and numpy take a third of a second

    stream = io.BytesIO()
    read_image(image).save(stream, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
