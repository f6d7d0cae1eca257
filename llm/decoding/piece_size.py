"""How many tokens of a prompt are read at once: few enough that the answers in progress do not wait long."""

from llm.machine_constants import PROMPT_PIECE_ALONE, PROMPT_PIECE_STEP

SECONDS = 0.2  # that a piece may take while answers wait: a reader sees a pause of 0.3 s
LEAST, MOST = 64, 1024  # tokens; smaller pieces read the weights too often: see `python -m benchmarks.serving_steps`
ALONE, STEP = PROMPT_PIECE_ALONE.count, PROMPT_PIECE_STEP.count


class PieceSize:
    """Adapts to what the device needs for the context so far. Not thread-safe.

    The time between the call and the return of the model is what counts. A GPU returns before it has computed, so its
    pieces grow to MOST, which it reads in less than SECONDS.
    """

    def __init__(self) -> None:
        self._tokens = LEAST

    def tokens(self, others_wait: bool) -> int:
        """Tokens of the next piece; `others_wait`: whether answers are in progress."""
        return self._tokens if others_wait else max(self._tokens, ALONE)

    def measured(self, tokens: int, seconds: float) -> None:
        """A piece of so many tokens has taken so long. Small ones, which mostly read weights, say nothing."""
        if tokens >= LEAST:
            fitting = int(SECONDS * tokens / max(seconds, 1e-6))
            self._tokens = min(MOST, max(LEAST, fitting // STEP * STEP))
