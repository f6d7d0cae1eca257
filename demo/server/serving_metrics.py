"""What a server counts while it answers: requests, tokens, times, refusals."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from demo.server.prometheus import Counter, Family, Gauge, Histogram, Reader, Reading, exposition
from demo.server.refusals import LimitLog

if TYPE_CHECKING:
    from llm.chat.token_stream import StreamedAnswer

FIRST_TOKEN_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 150.0)
NEXT_TOKEN_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class ServingMetrics:
    """The metrics of one application, which other parts of it add theirs to. Thread-safe."""

    def __init__(self) -> None:
        self.limits = LimitLog()
        labels = ("method", "route", "status")
        self.requests = Counter("eyegraft_http_requests_total", "Requests by address pattern and status.", labels)
        self.streams = Gauge("eyegraft_event_streams", "Streams of server-sent events that are open.", ("route",))
        self._prompt = Counter("eyegraft_prompt_tokens_total", "Tokens of prompts, image tokens included.")
        self._generated = Counter("eyegraft_generated_tokens_total", "Tokens that models have generated.")
        self._first = Histogram(
            "eyegraft_time_to_first_token_seconds",
            "From a request's place in the queue to its first token, waiting included.",
            FIRST_TOKEN_S,
        )
        self._next = Histogram(
            "eyegraft_time_between_tokens_seconds", "From a token of an answer to its next one.", NEXT_TOKEN_S
        )
        about = "Refused requests by reason."
        refused = Reader("counter", "eyegraft_refusals_total", about, self._refused, ("reason",))
        self._families: list[Family] = [
            self.requests, self.streams, self._prompt, self._generated, self._first, self._next, refused,
        ]  # fmt: skip

    def add(self, *families: Family) -> None:
        """Show these too."""
        self._families += families

    def add_queue(self, waiting: Callable[[], int], running: Callable[[], int]) -> None:
        """Show how many requests wait, and how many are being answered."""
        self.add(
            Reader("gauge", "eyegraft_requests_waiting", "Requests that wait for their turn.", waiting),
            Reader("gauge", "eyegraft_answers_running", "Answers that are being generated.", running),
        )

    def add_models(self, sizes: Callable[[], tuple[int, int]]) -> None:
        """Show how many models are in memory, and their bytes."""
        self.add(
            Reader("gauge", "eyegraft_models_loaded", "Models in memory.", lambda: sizes()[0]),
            Reader("gauge", "eyegraft_models_bytes", "Bytes of their weights, shared ones once.", lambda: sizes()[1]),
        )

    def text(self) -> str:
        """All metrics in Prometheus' format."""
        return exposition(self._families)

    def follow(self, reply: "StreamedAnswer") -> "AnswerMeter":
        """Begin to count the tokens of an answer."""
        self._prompt.add(by=reply.prompt_tokens)
        return AnswerMeter(reply, self._generated, self._first, self._next)

    def _refused(self) -> Reading:
        return {(reason,): float(count) for reason, count in self.limits.counts.items()}


class AnswerMeter:
    """Counts the tokens of one answer, each once; called by the thread that reads it."""

    def __init__(self, reply: "StreamedAnswer", tokens: Counter, first: Histogram, following: Histogram) -> None:
        self._reply, self._tokens, self._first, self._next = reply, tokens, first, following
        self._seen, self._last = 0, reply.began

    def update(self) -> None:
        """Count the tokens that were generated since the last call."""
        times = self._reply.token_times[self._seen :]
        for time in times:
            (self._next if self._seen else self._first).observe(time - self._last)
            self._seen, self._last = self._seen + 1, time
        if times:
            self._tokens.add(by=len(times))
