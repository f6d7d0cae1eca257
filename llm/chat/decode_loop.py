"""The answers of a model that are wanted at the same time are decoded together, a token each a step."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from threading import Lock

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from llm.chat.answer_row import AnswerRequest, AnswerRow
from llm.chat.generation import Prompt, generate
from llm.chat.token_stream import GenerationCancelled
from llm.decoding.batch_check import why_alone
from llm.decoding.device_thread import DeviceThread
from llm.decoding.few_rows import FewRows
from llm.decoding.model_steps import PromptReader, step_logits
from llm.decoding.prefix_cache import PrefixCache
from llm.decoding.slot_cache import SlotCache
from llm.log import logger


class DecodeLoop:
    """Decodes the answers of one model in steps of a token each (continuous batching). Thread-safe.

    A new request's prompt is read alone, a piece between two steps, then its row joins the others. Rows leave when they
    end or are stopped. All of it happens on the device's thread: a piece of a prompt, or steps until something else
    waits. Models whose cache has no rows of unequal length answer one request after another.
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
        self._stepping = False
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
        self._post(partial(self._begin, row), [row])
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
            prompts = [Prompt(request.ids, _embedded(request, 0, 0))]
            return generate(self._model, prompts, request.sampling, request.stop_ids, request.sink, request.stopped)[0]

    # On the device's thread -----------------------------------------------------------------------------------------

    def _post(self, work: Callable[[], None], rows: list[AnswerRow]) -> None:
        """Do it later; its exception ends the `rows` that there are then."""
        self._device.post(work).add_done_callback(partial(self._failed, rows))

    def _failed(self, rows: list[AnswerRow], done: Future[None]) -> None:
        error = done.exception()
        if error is None:
            return
        ended, rows[:] = [*rows], []
        if rows is self._rows:
            self._cache, self._stepping = None, False
        for row in ended:
            row.ended.set_exception(error)

    def _begin(self, row: AnswerRow) -> None:
        if row.request.stopped():
            raise GenerationCancelled
        request = row.request
        with self._answering():
            prefix = self._prefixes.find(request.ids, request.images)
            embeds = _embedded(request, prefix.length, prefix.images)
        row.begin(embeds.device)
        self._read(row, PromptReader(self._model, embeds, prefix.cache))

    def _read(self, row: AnswerRow, reader: PromptReader) -> None:
        """Read a piece of the prompt; after the last, the row joins."""
        if row.request.stopped():
            raise GenerationCancelled
        with self._answering():
            logits = reader.read()
            if logits is not None:
                row.extend(logits, int(logits.argmax()))
        if logits is None:
            self._post(partial(self._read, row, reader), [row])
            return
        self._prefixes.store(row.request.ids, row.request.images, reader.cache)
        if row.complete:
            row.end()
        else:
            self._join(row, reader.cache)

    def _join(self, row: AnswerRow, prompt: DynamicCache) -> None:
        if self._cache is None:
            self._cache = SlotCache(len(prompt.layers))
        self._cache.join(prompt)
        self._rows.append(row)
        if not self._stepping:
            self._stepping = True
            self._post(self._steps, self._rows)

    def _steps(self) -> None:
        """Decode until a row ends or other work waits. Rows end when the model is as it was: then others may use it."""
        assert self._few_rows is not None
        ended: list[AnswerRow] = []
        with self._answering(), self._few_rows.applied():
            while self._rows and not ended:
                ended = self._leave([row for row in self._rows if row.request.stopped()])
                if self._rows:
                    ended += self._step()
                if self._device.waiting:
                    break
        if self._rows:
            self._post(self._steps, self._rows)
        else:
            self._cache, self._stepping = None, False
        for row in ended:
            row.end()

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


@torch.no_grad()
def _embedded(request: AnswerRequest, read: int, images: int) -> Tensor:
    """The embeddings of the prompt's tokens [T - read, hidden] after those that were read with their images."""
    return request.embed(request.ids[read:], request.images[images:])
