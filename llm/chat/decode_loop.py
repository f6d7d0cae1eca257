"""The answers of a model that are wanted at the same time are decoded together, a token each a step."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from threading import Lock

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from llm.chat.answer_row import AnswerRequest, AnswerRow
from llm.chat.generation import Prompt, generate
from llm.chat.prompt_reading import PromptReading
from llm.chat.token_stream import GenerationCancelled
from llm.decoding.batch_check import why_alone
from llm.decoding.device_thread import DeviceThread
from llm.decoding.few_rows import FewRows
from llm.decoding.model_steps import step_logits
from llm.decoding.piece_size import PieceSize
from llm.decoding.prefix_cache import PrefixCache
from llm.decoding.slot_cache import SlotCache
from llm.log import logger


class DecodeLoop:
    """Decodes the answers of one model in steps of a token each (continuous batching). Thread-safe.

    A new request's prompt is read alone, then its row joins the others. Between two steps at most one image of one
    prompt is embedded or one piece of one prompt read, of the prompts in turn. Rows leave when they end or are stopped.
    All of it happens on the device's thread, which does other work in between. Models whose cache has no rows
    of unequal length answer one request after another.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        answering: Callable[[], AbstractContextManager[None]],
        device: DeviceThread,
        prefixes: PrefixCache,
    ) -> None:
        """`answering` makes the model ready to answer for the duration of a block."""
        self._prefixes = prefixes
        self._model, self._answering, self._device = model, answering, device
        self._rows: list[AnswerRow] = []  # in the order of the cache's rows
        self._cache: SlotCache | None = None
        self._readings: deque[PromptReading] = deque()  # the first is the next one's turn
        self._size = PieceSize()
        self._going = False  # whether a piece or steps are posted or run
        self._steps_next = False
        self._few_rows: FewRows | None = None  # of a model that is batched
        self._checking = Lock()
        self._alone_because: str | None = None  # empty for a model that is batched

    def answer(self, request: AnswerRequest) -> list[int]:
        """The new ids without the end mark; called in the thread of the answer, which waits.

        Raises GenerationCancelled when it was stopped before its first token.
        """
        if self._is_alone():
            return self._device.post(partial(self._answer_alone, request)).result()
        row = AnswerRow(request)
        self._device.post(partial(self._begin, row)).add_done_callback(partial(_failed, row))
        return row.ended.result()

    def run(self, work: Callable[[], None]) -> None:
        """Use the model between two steps, in its answering state."""
        self._device.post(partial(self._run, work)).result()

    def _run(self, work: Callable[[], None]) -> None:
        with self._answering():
            work()

    def _is_alone(self) -> bool:
        """Whether the model answers one request after another, found out at the first."""
        with self._checking:
            if self._alone_because is None:
                found = self._device.post(self._check)
                error = found.exception()
                self._alone_because = found.result() if error is None else f"{type(error).__name__}: {error}"
                if self._alone_because:
                    logger.info(f"this model answers one request at a time: {self._alone_because}")
            return bool(self._alone_because)

    def _check(self) -> str:
        few_rows = FewRows(self._model)
        with self._answering(), few_rows.applied():
            reason = why_alone(self._model)
        self._few_rows = None if reason else few_rows
        return reason

    def _answer_alone(self, request: AnswerRequest) -> list[int]:
        if request.stopped():
            raise GenerationCancelled
        with self._answering():
            prompts = [Prompt(request.ids, _embedded(request))]
            return generate(self._model, prompts, request.sampling, request.stop_ids, request.sink, request.stopped)[0]

    # On the device's thread -----------------------------------------------------------------------------------------

    def _begin(self, row: AnswerRow) -> None:
        """Put its prompt in line."""
        self._readings.append(PromptReading(self._model, row, self._prefixes, self._size))
        self._go()

    def _go(self) -> None:
        """Post what comes next, unless it is posted already: steps after a piece of a prompt, a piece after steps."""
        if self._going or not (self._rows or self._readings):
            return
        self._going = True
        if self._readings and not (self._rows and self._steps_next):
            reading = self._readings.popleft()
            self._device.post(partial(self._read, reading)).add_done_callback(partial(self._was_read, reading.row))
        else:
            self._device.post(self._steps).add_done_callback(self._stepped)

    def _went(self, steps_next: bool, ended: list[AnswerRow], error: BaseException | None) -> None:
        """Go on. Rows end now, when the model is as it was, because their threads may use it next."""
        self._going, self._steps_next = False, steps_next
        self._go()
        for row in ended:
            row.error = row.error or error
            row.end()

    def _read(self, reading: PromptReading) -> list[AnswerRow]:
        """Go on with a prompt; after its last piece, its row joins. Returns the row if it ends."""
        row = reading.row
        if row.request.stopped():
            raise GenerationCancelled
        with self._answering():
            logits = reading.go_on(others_wait=bool(self._rows))
            if logits is None:
                self._readings.append(reading)
                return []
            row.begin(logits.device)
            row.extend(logits, int(logits.argmax()))
        if row.complete:
            return [row]
        self._join(row, reading.cache)
        return []

    def _was_read(self, row: AnswerRow, done: Future[list[AnswerRow]]) -> None:
        error = done.exception()
        self._went(True, [row] if error else done.result(), error)

    def _join(self, row: AnswerRow, prompt: DynamicCache) -> None:
        if self._cache is None:
            self._cache = SlotCache(len(prompt.layers))
        self._cache.join(prompt)
        self._rows.append(row)

    def _steps(self) -> list[AnswerRow]:
        """Decode until a row ends, or after a step if a prompt or other work waits. Returns the rows that ended."""
        assert self._few_rows is not None
        ended: list[AnswerRow] = []
        few = len(self._rows) > 1 or self._few_rows.helps_one_row  # rows do not become more below
        products = self._few_rows.applied() if few else nullcontext()
        with self._answering(), products:
            while self._rows and not ended:
                ended = self._leave([row for row in self._rows if row.request.stopped()])
                if self._rows:
                    ended += self._step()
                if self._device.waiting or self._readings:
                    break
        if not self._rows:
            self._cache = None
        return ended

    def _stepped(self, done: Future[list[AnswerRow]]) -> None:
        error = done.exception()
        if error is None:
            self._went(False, done.result(), None)
            return
        ended, self._rows, self._cache = self._rows, [], None  # every row took part
        self._went(False, ended, error)

    def _step(self) -> list[AnswerRow]:
        """A token for each row; returns those that ended."""
        assert self._cache is not None
        logits = step_logits(self._model, self._cache, [row.new[-1] for row in self._rows])
        for row, scores, likeliest in zip(self._rows, logits, logits.argmax(-1).tolist(), strict=True):
            row.extend(scores, likeliest)
        return self._leave([row for row in self._rows if row.complete])

    def _leave(self, rows: list[AnswerRow]) -> list[AnswerRow]:
        for row in rows:
            assert self._cache is not None
            number = self._rows.index(row)
            self._cache.leave(number)
            last = self._rows.pop()
            if last is not row:
                self._rows[number] = last
        return rows


def _failed(row: AnswerRow, done: Future[None]) -> None:
    """An answer that could not begin ends with the reason."""
    if error := done.exception():
        row.ended.set_exception(error)


@torch.no_grad()
def _embedded(request: AnswerRequest) -> Tensor:
    """The embeddings of the prompt's tokens [T, hidden], with its images."""
    return request.embed(request.ids, request.images)
