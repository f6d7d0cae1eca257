"""The workers: each sends a question until it is answered or has failed, and writes the outcome to the journal."""

import asyncio
import base64
import io
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from data_tools.ask.answer_rows import AnswerRow, InvalidAnswer
from data_tools.ask.client import NO_USAGE, ApiAnswer, ApiClient, RequestFailed, RequestRefused, TokenUsage, shortened
from data_tools.ask.journal import Journal, JournalEntry
from data_tools.ask.plan import AskPlan
from data_tools.ask.questions import ApiQuestion
from data_tools.ask.rate_limit import RateLimiter, SendingStopped
from llm.errors import ConfigError, EyegraftError, ImageError, RunError
from llm.formats.conversation import ImageRef

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionContentPartParam, ChatCompletionMessageParam

INVALID_ANSWERS = 3  # truncated, empty or malformed answers after which a question has failed
GIVE_UP = 10  # consecutive questions without any answer: the server is down
LONGEST_ANSWER = 1 << 20  # characters; ten times what models write
QUALITY = 95  # of the JPEG that is sent


@dataclass(slots=True)
class AskProgress:
    """Answers, failures and costs so far."""

    rows: dict[str, AnswerRow]  # by key
    failed: list[tuple[str, str]] = field(default_factory=list)  # question, reason
    retried: int = 0
    tokens: TokenUsage = NO_USAGE
    error: EyegraftError | None = None  # that ended the run

    @property
    def note(self) -> str:
        """The counts that are shown beside the progress bar."""
        tokens = self.tokens.prompt + self.tokens.completion
        return f"{len(self.failed)} failed  {self.retried} retried  {tokens:,} tokens"


class WorkerPool:
    """Sends the questions that have no answer yet, in order, several at once.

    After `run`, `waiting` holds the questions that were not settled and `progress` the result.
    """

    def __init__(
        self,
        plan: AskPlan,
        client: ApiClient,
        journal: Journal,
        limiter: RateLimiter,
        rows: dict[str, AnswerRow],
        show: Callable[[AskProgress], None],
    ) -> None:
        self.waiting = deque(question for question in plan.questions if plan.key(question) not in rows)
        self.progress = AskProgress(rows)
        self._plan, self._client, self._journal, self._limiter, self._show = plan, client, journal, limiter, show
        self._unanswered = 0  # questions since the last answer
        self._answered = bool(rows)  # whether the server ever answered with these settings

    async def run(self) -> None:
        """Work until no question is waiting, sending is stopped, or the server cannot be used (`progress.error`)."""
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._plan.workers, len(self.waiting))):
                group.create_task(self._worker())

    async def _worker(self) -> None:
        while self.waiting and not self._limiter.stop.is_set():
            question = self.waiting.popleft()
            try:
                await self._settle(question)
            except SendingStopped:
                self.waiting.appendleft(question)
                return
            except EyegraftError as error:
                self.waiting.appendleft(question)
                self.progress.error = self.progress.error or error
                self._limiter.stop.set()
            self._show(self.progress)

    async def _settle(self, question: ApiQuestion) -> None:
        try:
            messages = await self._messages(question)
        except ImageError as error:
            self._fail(question, str(error))
            return
        failures = invalid = 0
        while True:
            await self._limiter.acquire()
            try:
                completion = await self._client.send(self._plan.model, messages, self._plan.settings)
                self._unanswered, self._answered = 0, True
                self._store(question, completion)
                return
            except RequestFailed as failure:
                failures += 1
                if not failure.retry or failures > self._plan.retry_policy.retries:
                    self._give_up(question, failure, failures)
                    return
                await self._back_off(failure, failures)
            except InvalidAnswer as error:
                invalid += 1
                if invalid == INVALID_ANSWERS:
                    self._fail(question, f"{error}, {invalid} times")
                    return
            except RequestRefused as refusal:
                self._refuse(question, refusal)
                return
            self.progress.retried += 1
            self._show(self.progress)

    async def _messages(self, question: ApiQuestion) -> "list[ChatCompletionMessageParam]":
        content: str | list[ChatCompletionContentPartParam] = question.text
        if question.image:
            url = await asyncio.to_thread(data_url, question.image, self._plan.max_side)
            content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question.text}]
        messages: list[ChatCompletionMessageParam] = []
        if self._plan.system:
            messages.append({"role": "system", "content": self._plan.system})
        return [*messages, {"role": "user", "content": content}]

    def _store(self, question: ApiQuestion, completion: ApiAnswer) -> None:
        """Store a valid answer. Raises InvalidAnswer and RequestRefused; the tokens count in any case."""
        self.progress.tokens += completion.tokens
        if completion.finish == "length":
            raise InvalidAnswer("the answer was cut off at the token limit; raise it with --set max_tokens=N")
        if completion.finish == "content_filter":
            raise RequestRefused("the server's content filter cut the answer")
        if completion.finish == "refusal":
            raise RequestRefused(f"the model refused: {shortened(completion.text)}")
        if len(completion.text) > LONGEST_ANSWER:
            raise InvalidAnswer(f"the answer has {len(completion.text):,} characters, more than {LONGEST_ANSWER:,}")
        if self._plan.server.key.occurs_in(completion.text):
            raise InvalidAnswer("the answer contains the API key")
        row, key = self._plan.form.row(question, completion.text), self._plan.key(question)
        tokens = completion.tokens
        self._journal.add(JournalEntry(key, question.name, completion.text, "", tokens.prompt, tokens.completion))
        self.progress.rows[key] = row

    async def _back_off(self, failure: RequestFailed, failures: int) -> None:
        """Wait before a retry; a pause that the server asks for holds for all workers."""
        if failure.retry_after:
            self._limiter.pause(failure.retry_after)
        await self._limiter.sleep(max(failure.retry_after, self._plan.retry_policy.delay(failures)))

    def _refuse(self, question: ApiQuestion, refusal: RequestRefused) -> None:
        """Fail the question if the server ever answered with these settings; otherwise raise ConfigError."""
        if not self._answered:
            advice = "No question was answered yet: correct --model and --set, or this question"
            raise ConfigError(f"{self._plan.server.url}: refused {question.name}: {refusal}. {advice}")
        self._fail(question, str(refusal))

    def _give_up(self, question: ApiQuestion, failure: RequestFailed, failures: int) -> None:
        """Fail the question, or raise RunError if no question was answered for a while."""
        self._unanswered += 1
        if self._unanswered >= GIVE_UP:
            found = f"{self._unanswered} consecutive questions got no answer; the last: {failure}"
            raise RunError(f"{self._plan.server.url}: {found}. Check the server, then run the same command")
        self._fail(question, f"{failure}, {failures} times" if failures > 1 else str(failure))

    def _fail(self, question: ApiQuestion, reason: str) -> None:
        reason = shortened(self._plan.server.key.redact(reason))
        self._journal.add(JournalEntry(self._plan.key(question), question.name, failed=reason))
        self.progress.failed.append((question.name, reason))


def data_url(path: str, max_side: int) -> str:
    """An image as training reads it, at most `max_side` pixels a side, as a JPEG data URL. Raises ImageError."""
    # Imported here: Pillow and numpy take a third of a second, and most runs are about text.
    from vlm.vision.images import read_image

    image = read_image(ImageRef(path))
    image.thumbnail((max_side, max_side))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
