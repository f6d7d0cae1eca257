"""The generation queue with fake models: capacity, shares, order of turns, and recipients."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from types import SimpleNamespace
from typing import Any

import pytest

from demo.server.generation_queue import LOCAL_RECIPIENT, POLL_SECONDS, READ_TIMEOUT, Busy, GenerationQueue, Recipient
from llm.chat.sampling import Sampling
from llm.chat.token_stream import GenerationCancelled
from llm.formats.conversation import Message

FULL = "the queue is full. Try again in a moment"
SAMPLING = Sampling(max_new_tokens=7)
ASKED = (Message("user", ("Q",)),)
Turn = Callable[[Callable[[], bool]], AbstractContextManager[None]]


class Answer:
    """A fake reply with these pieces (None: its end) that counts calls of `stop`."""

    prompt_tokens, began, token_times = 1, 0.0, ()

    def __init__(self, *pieces: str | None) -> None:
        self.pieces = iter(pieces)
        self.waits: list[float | None] = []
        self.stops = 0

    def piece(self, seconds: float | None = None) -> str | None:
        self.waits.append(seconds)
        return next(self.pieces)

    def stop(self) -> None:
        self.stops += 1


class ChatModel:
    """A fake model that records the turns it is given; the test takes them."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = iter(answers)
        self.turns: list[Turn] = []
        self.given: list[tuple[Any, ...]] = []
        self.error: Exception | None = None

    def fit_to_context(self, messages: tuple[Message, ...], new_tokens: int) -> tuple[Message, ...]:
        return (*messages, Message("assistant", (f"room for {new_tokens}",)))

    def stream(self, messages: Any, sampling: Sampling, turn: Turn, patience: float, client: str) -> Answer:
        if self.error:
            raise self.error
        self.turns.append(turn)
        self.given.append((messages, sampling, patience, client))
        return next(self.answers, Answer(None))


def never() -> bool:
    return False


def ask(queue: GenerationQueue, chat_model: Any, visitor: str = "") -> Any:
    return queue.submit(chat_model, ASKED, SAMPLING, visitor)


def is_busy(queue: GenerationQueue, visitor: str, said: str) -> None:
    """Every way to queue a request raises Busy with this message and leaves the queue unchanged."""
    before = queue.length
    for way in (lambda: queue.check_capacity(visitor), lambda: ask(queue, ChatModel(), visitor)):
        with pytest.raises(Busy) as caught:
            way()
        assert str(caught.value) == said
    with pytest.raises(Busy), queue.turn(visitor):
        raise AssertionError("it was served")
    assert queue.length == before


# Capacity -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waiting", [0, 1, 2, 3])
def test_capacity_is_one_running_request_and_those_waiting(waiting: int) -> None:
    queue, chat_model = GenerationQueue({}, waiting), ChatModel()
    held = []
    for number in range(waiting + 1):
        assert queue.length == number
        queue.check_capacity(f"visitor {number}")
        held.append(ask(queue, chat_model, f"visitor {number}"))
    assert queue.length == waiting + 1
    is_busy(queue, "", FULL)
    is_busy(queue, "visitor 0", FULL)
    with chat_model.turns[0](never):
        is_busy(queue, "", FULL)
    assert queue.length == waiting
    queue.check_capacity()
    ask(queue, chat_model)
    is_busy(queue, "", FULL)


@pytest.mark.parametrize("share", [1, 2, 3])
def test_a_visitors_share_of_the_queue(share: int) -> None:
    queue, chat_model = GenerationQueue({}, 9, share), ChatModel()
    for _ in range(share):
        queue.check_capacity("10.0.0.7")
        ask(queue, chat_model, "10.0.0.7")
    is_busy(queue, "10.0.0.7", f"{share} of your questions are waiting already. Try again when one of them is answered")
    for other in ("10.0.0.8", ""):
        queue.check_capacity(other)
        ask(queue, chat_model, other)
    with chat_model.turns[0](never):
        is_busy(
            queue, "10.0.0.7", f"{share} of your questions are waiting already. Try again when one of them is answered"
        )
    ask(queue, chat_model, "10.0.0.7")


def test_local_requests_and_a_share_of_0_are_unbounded() -> None:
    for queue, visitor in (
        (GenerationQueue({}, 5, 1), ""),
        (GenerationQueue({}, 5), "10.0.0.7"),
        (GenerationQueue({}, 5, 0), "10.0.0.7"),
    ):
        chat_model = ChatModel()
        for _ in range(6):
            ask(queue, chat_model, visitor)
        is_busy(queue, visitor, FULL)


def test_a_full_queue_is_reported_before_an_exhausted_share() -> None:
    queue, chat_model = GenerationQueue({}, 1, 2), ChatModel()
    ask(queue, chat_model, "10.0.0.7")
    ask(queue, chat_model, "10.0.0.7")
    is_busy(queue, "10.0.0.7", FULL)


# Order ----------------------------------------------------------------------------------------------------------------


def test_requests_are_served_in_order_of_arrival(monkeypatch: pytest.MonkeyPatch) -> None:
    """The later entries wait first: each begins when the one before it has left."""
    monkeypatch.setattr("demo.server.generation_queue.POLL_SECONDS", 30.0)
    queue, chat_model, order = GenerationQueue({}, 4), ChatModel(), list[str]()
    for _ in range(4):
        ask(queue, chat_model)
    here = [threading.Event() for _ in range(4)]

    def take(number: int) -> None:
        here[number].set()
        with chat_model.turns[number](never):
            order.append(f"{number} begins")
            order.append(f"{number} ends")

    threads = [threading.Thread(target=take, args=(number,), daemon=True) for number in (3, 1, 2)]
    for thread in threads:
        thread.start()
    assert all(event.wait(10) for event in here[1:])
    assert order == []
    take(0)
    for thread in threads:
        thread.join(10)
    assert order == [f"{number} {what}" for number in range(4) for what in ("begins", "ends")]
    assert queue.length == 0


def test_only_the_first_entry_gets_a_turn_and_stopped_entries_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.server.generation_queue.POLL_SECONDS", 0.001)
    queue, chat_model = GenerationQueue({}, 2), ChatModel()
    for _ in range(3):
        ask(queue, chat_model)
    looks = iter([False, False, True])
    with pytest.raises(GenerationCancelled), chat_model.turns[1](lambda: next(looks)):
        raise AssertionError("it was served out of turn")
    assert next(looks, None) is None and queue.length == 2
    with pytest.raises(GenerationCancelled), chat_model.turns[0](lambda: True):
        raise AssertionError("it was served though it was stopped")
    assert queue.length == 1
    with chat_model.turns[2](never):
        assert queue.length == 1
    assert queue.length == 0


def test_an_entry_is_removed_after_an_error() -> None:
    queue, chat_model = GenerationQueue({}, 2), ChatModel()
    ask(queue, chat_model)
    with pytest.raises(ZeroDivisionError), chat_model.turns[0](never):
        assert queue.length == 1
        raise ZeroDivisionError
    assert queue.length == 0
    chat_model.error = KeyError("no prompt of it")
    with pytest.raises(KeyError):
        ask(queue, chat_model)
    assert queue.length == 0
    with suppress(ZeroDivisionError), queue.turn("10.0.0.7"):
        assert queue.length == 1
        raise ZeroDivisionError
    assert queue.length == 0


def test_turn_waits_for_running_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.server.generation_queue.POLL_SECONDS", 30.0)
    queue, chat_model, order = GenerationQueue({}, 2), ChatModel(), list[str]()
    ask(queue, chat_model)

    def work() -> None:
        with queue.turn():
            order.append("work")

    thread = threading.Thread(target=work, daemon=True)
    with chat_model.turns[0](never):
        thread.start()
        while queue.length < 2:
            thread.join(0.001)
        order.append("answer")
    thread.join(10)
    assert order == ["answer", "work"]


# Together -------------------------------------------------------------------------------------------------------------


class Turns:
    """Holds the turns of a queue's entries: `begin` waits for one, which ends with `end`."""

    def __init__(self, queue: GenerationQueue) -> None:
        self.queue, self.taken = queue, dict[int, threading.Event]()
        self.given: list[Turn] = []
        self.begun: list[int] = []
        self._threads: list[threading.Thread] = []

    def ask(self, chat_model: Any, visitor: str = "") -> int:
        """Queue a request, whose thread waits for its turn; returns its number."""
        number = len(self.given)

        def stream(turn: Turn, patience: float, reader: str) -> Any:
            self.given.append(turn)
            return Answer(None)

        self.queue.start(visitor, stream, chat_model)
        self.taken[number] = threading.Event()
        thread = threading.Thread(target=self._hold, args=(number,), daemon=True)
        self._threads.append(thread)
        thread.start()
        return number

    def _hold(self, number: int) -> None:
        with self.given[number](never):
            self.begun.append(number)
            assert self.taken[number].wait(120)

    def end(self, *numbers: int) -> None:
        """End these turns."""
        for number in numbers:
            self.taken[number].set()
            self._threads[number].join(120)

    def are(self, *numbers: int) -> None:
        """These turns have begun, in any order; the others get every chance to begin wrongly."""
        last = time.monotonic() + 120
        while set(self.begun) != {*numbers}:
            assert time.monotonic() < last, self.begun
            time.sleep(0.001)
        with self.queue._changed:
            self.queue._changed.notify_all()
        assert set(self.begun) == {*numbers}


def test_requests_for_one_model_share_a_turn_up_to_a_bound() -> None:
    queue = GenerationQueue({}, 9, together=3)
    turns, model = Turns(queue), object()
    for _ in range(5):
        turns.ask(model)
    turns.are(0, 1, 2)
    turns.end(1)
    turns.are(0, 1, 2, 3)
    turns.end(0, 2, 3, 4)
    turns.are(0, 1, 2, 3, 4)
    assert queue.length == 0


def test_models_take_turns_in_order_of_arrival() -> None:
    """Those that wait when a turn begins share it; one that comes after a request for another model does not."""
    queue = GenerationQueue({}, 9, together=3)
    turns, one, other = Turns(queue), object(), object()
    with queue.turn():
        first, second, third = turns.ask(one), turns.ask(other), turns.ask(one)
        turns.are()
    turns.are(first, third)
    fourth = turns.ask(one)
    turns.are(first, third)
    turns.end(first)
    turns.are(first, third)
    turns.end(third)
    turns.are(first, third, second)
    turns.end(second)
    turns.are(first, third, second, fourth)
    turns.end(fourth)


def test_a_newcomer_joins_those_that_are_answered_but_not_work_without_pauses() -> None:
    queue = GenerationQueue({}, 9, together=3)
    turns, model = Turns(queue), object()
    first = turns.ask(model)
    turns.are(first)
    second = turns.ask(model)
    turns.are(first, second)
    turns.end(first, second)
    with queue.turn():
        third = turns.ask(model)
        turns.are(first, second)
    turns.are(first, second, third)
    turns.end(third)


def test_capacity_counts_all_that_are_answered_at_once() -> None:
    queue, chat_model = GenerationQueue({}, 2, together=3), ChatModel()
    for _ in range(5):
        ask(queue, chat_model)
    is_busy(queue, "", FULL)


# Replies -------------------------------------------------------------------------------------------------------------


def test_the_model_gets_the_name_and_the_patience_of_the_recipient() -> None:
    queue, chat_model = GenerationQueue({}, 9, patience=3.5), ChatModel()
    ask(queue, chat_model)
    ask(queue, chat_model, "10.0.0.7")
    ask(GenerationQueue({}, 9), chat_model)
    assert chat_model.given == [
        (ASKED, SAMPLING, 3.5, "this machine"),
        (ASKED, SAMPLING, 3.5, "10.0.0.7"),
        (ASKED, SAMPLING, 15.0, "this machine"),
    ]
    assert (READ_TIMEOUT, POLL_SECONDS) == (15.0, 0.2)
    assert (LOCAL_RECIPIENT.name, LOCAL_RECIPIENT.left()) == ("", False)


def test_stream_text_yields_the_answer_so_far() -> None:
    answer = Answer("a", "", "bc", None)
    queue, chat_model = GenerationQueue({}, 9), ChatModel(answer)
    assert list(queue.stream_text(chat_model, ASKED, SAMPLING)) == ["a", "a", "abc", "abc"]
    assert answer.waits == [0.2] * 4 and answer.stops == 1
    fitted = (*ASKED, Message("assistant", ("room for 7",)))
    assert chat_model.given == [(fitted, SAMPLING, 15.0, "this machine")]
    empty = ChatModel(Answer(None))
    assert list(queue.stream_text(empty, ASKED, SAMPLING)) == [""], "at least one value"


def test_an_answer_is_stopped_when_its_recipient_leaves_or_closes_it() -> None:
    left = iter([False, True])
    leaving, closed = Answer("a", "b", "c"), Answer("a", "b", "c")
    queue, chat_model = GenerationQueue({}, 9), ChatModel(leaving, closed)
    stream_text: Iterator[str] = queue.stream_text(
        chat_model,
        ASKED,
        SAMPLING,
        Recipient("10.0.0.7", lambda: next(left)),
    )
    assert list(stream_text) == ["a", "a"], "the text so far is yielded"
    assert leaving.stops == 1 and chat_model.given[0][3] == "10.0.0.7"
    again: Any = queue.stream_text(chat_model, ASKED, SAMPLING)
    assert next(again) == "a"
    again.close()
    assert closed.stops == 1


def test_close_stops_every_referenced_answer() -> None:
    first, second, forgotten = Answer(), Answer(), Answer()
    queue, chat_model = GenerationQueue({}, 9), ChatModel(first, second, forgotten)
    with ExitStack() as stack:
        stack.enter_context(queue.turn())
        held = [ask(queue, chat_model), ask(queue, chat_model)]
        ask(queue, chat_model)
        queue.close()
        assert [answer.stops for answer in (first, second)] == [1, 1] and held == [first, second]
    queue.close()
    assert first.stops == 2, "the entry stays until its thread has ended"
    del forgotten
    queue.close()


def test_the_queue_holds_the_models_by_name() -> None:
    chat_models: Any = {"m": SimpleNamespace()}
    assert GenerationQueue(chat_models, 1).chat_models is chat_models
