"""An answer on its way: its text piece by piece and, once it is over, how long it was and why it ended."""

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Literal, Self

from torch import Tensor
from transformers.generation.streamers import BaseStreamer

Finish = Literal["", "stop", "length"]
Generate = Callable[[BaseStreamer, Callable[[], bool]], object]  # told where tokens go and when to stop

UNFINISHED = "\ufffd"  # what the first bytes of a character decode to


class Reply(Iterator[str]):
    """Text pieces that join to the whole answer. Closing it, or forgetting it, stops the generation.

    `finish` is "stop" after an end mark or a stop word, "length" at the token limit, "" before either.
    """

    def __init__(
        self,
        generate: Generate,
        decode: Callable[[list[int]], str],
        ends: tuple[int, ...],
        stop: tuple[str, ...],
        prompt_tokens: int,
    ) -> None:
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = 0
        self.finish: Finish = ""
        self._decode, self._ends, self._stop = decode, ends, stop
        self._pieces = self._text(tokens_of(generate))

    def __next__(self) -> str:
        return next(self._pieces)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop; returns when the generating thread has ended."""
        self._pieces.close()

    def _text(self, tokens: Generator[int, None, None]) -> Generator[str, None, None]:
        ids: list[int] = []
        shown = 0
        try:
            for token in tokens:
                self.completion_tokens += 1
                if token in self._ends:
                    self.finish = "stop"
                    break
                ids.append(token)
                text = self._decode(ids)
                if cut(text, self._stop) != text:
                    self.finish = "stop"
                    break
                ready = len(text) - held_back(text, self._stop)
                # An unfinished character decodes to the replacement sign: wait for the rest of it.
                if ready > shown and not text.endswith(UNFINISHED):
                    yield text[shown:ready]
                    shown = ready
            self.finish = self.finish or "length"
            rest = cut(self._decode(ids), self._stop)[shown:]
            if rest:
                yield rest
        finally:
            tokens.close()


def tokens_of(generate: Generate) -> Generator[int, None, None]:
    """Token ids as another thread generates them; closing stops that thread and waits for it."""
    queue: Queue[list[int] | None] = Queue()
    stopped = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(generate, _Tokens(queue), stopped.is_set)
        done.add_done_callback(lambda _: queue.put(None))
        try:
            while (item := queue.get()) is not None:
                yield from item
            done.result()  # raises here what the generation raised there
        finally:
            stopped.set()


class _Tokens(BaseStreamer):
    """Hands new tokens to a queue; the end is told by the thread itself."""

    def __init__(self, queue: "Queue[list[int] | None]") -> None:
        self._queue = queue

    def put(self, value: Tensor) -> None:
        self._queue.put(value.reshape(-1).tolist())

    def end(self) -> None:
        """Nothing: the queue is closed when the thread is done, also if it failed."""


def cut(text: str, stop: tuple[str, ...]) -> str:
    """The text before the first stop word."""
    for word in stop:
        text = text.split(word)[0]
    return text


def held_back(text: str, stop: tuple[str, ...]) -> int:
    """How many characters at the end may be the beginning of a stop word: not to be shown yet."""
    return max((size for word in stop for size in range(1, len(word)) if text.endswith(word[:size])), default=0)
