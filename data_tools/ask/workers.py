"""The workers: each takes a question, asks until there is an answer that counts, and writes it down."""

import asyncio
import base64
import io
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from data_tools.ask.answer_rows import AnswerRow, InvalidAnswer
from data_tools.ask.client import NO_USAGE, ApiClient, Completion, RequestFailed, RequestRefused, TokenUsage, shortened
from data_tools.ask.journal import Journal, JournalEntry
from data_tools.ask.plan import AskPlan
from data_tools.ask.questions import ApiQuestion
from data_tools.ask.rate_limit import RateLimiter, SendingStopped
from llm.errors import ConfigError, EyegraftError, ImageError, RunError
from llm.formats.conversation import ImageRef

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionContentPartParam, ChatCompletionMessageParam

BAD_ANSWERS = 3  # so often an answer may be cut off, empty or malformed until its question counts as failed
GIVE_UP = 10  # questions in a row that got no answer from the server: it is down
LONGEST_ANSWER = 1 << 20  # characters; what models write in one answer is a tenth of it
QUALITY = 95  # of the JPEG that is sent


@dataclass(slots=True)
class AskProgress:
    """What has happened so far."""

    rows: dict[str, AnswerRow]  # by key
    failed: list[tuple[str, str]] = field(default_factory=list)  # question, reason
    retried: int = 0
    tokens: TokenUsage = NO_USAGE
    error: EyegraftError | None = None  # what ended the run

    @property
    def note(self) -> str:
        """The counts that are shown beside the progress bar."""
        tokens = self.tokens.prompt + self.tokens.completion
        return f"{len(self.failed)} failed  {self.retried} retried  {tokens:,} tokens"


class WorkerPool:
    """Asks what is waiting, in order, several at once. After `work` the questions not asked are still waiting."""

    def __init__(
        self,
        plan: AskPlan,
        client: ApiClient,
        journal: Journal,
        pace: RateLimiter,
        rows: dict[str, AnswerRow],
        show: Callable[[AskProgress], None],
    ) -> None:
        self.waiting = deque(question for question in plan.questions if plan.key(question) not in rows)
        self.tally = AskProgress(rows)
        self._plan, self._client, self._journal, self._pace, self._show = plan, client, journal, pace, show
        self._lost = 0  # questions without an answer since the last answer
        self._understood = bool(rows)  # whether the server ever answered under these settings

    async def work(self) -> None:
        """Until nothing is waiting, the pace halts or the server cannot be used; that error is in the tally."""
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._plan.workers, len(self.waiting))):
                group.create_task(self._worker())

    async def _worker(self) -> None:
        while self.waiting and not self._pace.stop.is_set():
            question = self.waiting.popleft()
            try:
                await self._settle(question)
            except SendingStopped:
                self.waiting.appendleft(question)
                return
            except EyegraftError as error:
                self.waiting.appendleft(question)
                self.tally.error = self.tally.error or error
                self._pace.stop.set()
            self._show(self.tally)

    async def _settle(self, question: ApiQuestion) -> None:
        try:
            messages = await self._messages(question)
        except ImageError as error:
            self._fail(question, str(error))
            return
        faults = bad = 0
        while True:
            await self._pace.turn()
            try:
                reply = await self._client.send(self._plan.model, messages, self._plan.settings)
                self._lost, self._understood = 0, True
                self._keep(question, reply)
                return
            except RequestFailed as fault:
                faults += 1
                if not fault.again or faults > self._plan.patience.retries:
                    self._lose(question, fault, faults)
                    return
                await self._wait(fault, faults)
            except InvalidAnswer as answer:
                bad += 1
                if bad == BAD_ANSWERS:
                    self._fail(question, f"{answer}, {bad} times")
                    return
            except RequestRefused as refusal:
                self._refuse(question, refusal)
                return
            self.tally.retried += 1
            self._show(self.tally)

    async def _messages(self, question: ApiQuestion) -> "list[ChatCompletionMessageParam]":
        content: str | list[ChatCompletionContentPartParam] = question.text
        if question.image:
            url = await asyncio.to_thread(data_url, question.image, self._plan.max_side)
            content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question.text}]
        messages: list[ChatCompletionMessageParam] = []
        if self._plan.system:
            messages.append({"role": "system", "content": self._plan.system})
        return [*messages, {"role": "user", "content": content}]

    def _keep(self, question: ApiQuestion, reply: Completion) -> None:
        """Write the answer down. InvalidAnswer when it does not count; what it cost counts all the same."""
        self.tally.tokens += reply.tokens
        if reply.finish == "length":
            raise InvalidAnswer("the answer was cut off at the token limit (see --set max_tokens=...)")
        if reply.finish == "content_filter":
            raise RequestRefused("the server's content filter cut the answer")
        if reply.finish == "refusal":
            raise RequestRefused(f"the model refused: {shortened(reply.text)}")
        if len(reply.text) > LONGEST_ANSWER:
            raise InvalidAnswer(f"the answer has {len(reply.text):,} characters, more than {LONGEST_ANSWER:,}")
        if self._plan.server.key.is_in(reply.text):
            raise InvalidAnswer("the answer holds the API key")
        row, key = self._plan.form.row(question, reply.text), self._plan.key(question)
        tokens = reply.tokens
        self._journal.add(JournalEntry(key, question.name, reply.text, "", tokens.prompt, tokens.completion))
        self.tally.rows[key] = row

    async def _wait(self, fault: RequestFailed, faults: int) -> None:
        """Back off; a rest that the server asked for is everybody's."""
        if fault.rest:
            self._pace.hold(fault.rest)
        await self._pace.rest(max(fault.rest, self._plan.patience.wait(faults)))

    def _refuse(self, question: ApiQuestion, refusal: RequestRefused) -> None:
        """Where answers came with these settings the question is at fault, else the settings are."""
        if not self._understood:
            advice = "Nothing was answered yet: correct --model and --set, or this question"
            raise ConfigError(f"{self._plan.server.url}: refused {question.name}: {refusal}. {advice}")
        self._fail(question, str(refusal))

    def _lose(self, question: ApiQuestion, fault: RequestFailed, faults: int) -> None:
        self._lost += 1
        if self._lost >= GIVE_UP:
            found = f"{self._lost} questions in a row got no answer; the last: {fault}"
            raise RunError(f"{self._plan.server.url}: {found}. See whether the server is well, then go on")
        self._fail(question, f"{fault}, {faults} times" if faults > 1 else str(fault))

    def _fail(self, question: ApiQuestion, reason: str) -> None:
        reason = shortened(self._plan.server.key.hide(reason))
        self._journal.add(JournalEntry(self._plan.key(question), question.name, failed=reason))
        self.tally.failed.append((question.name, reason))


def data_url(path: str, max_side: int) -> str:
    """A picture as training sees it, no side longer than `max_side`, as a JPEG inside a URL. Raises ImageError."""
    # Here, since most runs ask about text: Pillow and numpy take a third of a second.
    from vlm.vision.images import read_image

    image = read_image(ImageRef(path))
    image.thumbnail((max_side, max_side))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
