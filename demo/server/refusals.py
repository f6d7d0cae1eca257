"""Requests that are refused, counted by reason; the log names the option that raises a limit."""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from demo.open_models import NoRoomError
from llm.errors import EyegraftError
from llm.log import logger

Reason = Literal[
    "queue", "share", "messages", "characters", "images", "image_bytes", "videos", "video_bytes", "new_tokens", "body",
    "upload",
    "memory", "host", "origin", "token", "slow", "encoding", "header", "structure", "request", "unavailable", "failed",
]  # fmt: skip
# What is logged where an option raises the limit; the place is the limit's.
OPTIONS: Mapping[Reason, str] = MappingProxyType(
    {
        "queue": "limit reached: a request was refused, {} wait already. --queue raises it",
        "share": "limit reached: a request was refused, its visitor has {} waiting, a third of the queue. "
        "--queue raises it",
        "messages": "limit reached: a conversation of more than {} messages was refused. --max-messages raises it",
        "characters": "limit reached: a text of more than {} characters was refused. --max-characters raises it",
        "images": "limit reached: a message with more than {} images was refused. --max-images raises it",
        "image_bytes": "limit reached: an image of more than {} bytes was refused. --max-image-mib raises it",
        "videos": "limit reached: a message with more than {} videos was refused",
        "video_bytes": "limit reached: a video of more than {} bytes was refused",
        "new_tokens": "limit reached: a longer answer than {} tokens was asked for. --max-new-tokens raises it",
        "body": "limit reached: a request of more than {} bytes was refused. It grows with --max-images, "
        "--max-image-mib and --max-characters",
    }
)
PAUSE_S = 60.0  # between two lines about one limit: a client may exceed it a thousand times a second


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that a request exceeds, and its value."""

    reason: Reason
    most: int


class OverLimit(EyegraftError):
    """A request that is refused; `limit` is the limit of the server that it exceeds, if it exceeds one."""

    limit: Limit | None = None


class LimitLog:
    """Counts refusals by reason, and logs those that an option would have avoided. Thread-safe."""

    def __init__(self) -> None:
        self._counts: Counter[Reason] = Counter()
        self._logged: dict[Reason, float] = {}
        self._lock = threading.Lock()

    @property
    def counts(self) -> dict[Reason, int]:
        """Refused requests by reason."""
        with self._lock:
            return dict(self._counts)

    def refused_by(self, error: EyegraftError, otherwise: Reason = "request") -> None:
        """A request was refused with this error; `otherwise` is the reason where it exceeds no limit."""
        limit = error.limit if isinstance(error, OverLimit) else None
        otherwise = "memory" if isinstance(error, NoRoomError) else otherwise
        self.refused(limit.reason, limit.most) if limit else self.refused(otherwise)

    def refused(self, reason: Reason, most: int = 0) -> None:
        """A request was refused; `most` is the limit that it exceeds, where it exceeds one."""
        with self._lock:
            self._counts[reason] += 1
        self.reached(reason, most)

    def reached(self, reason: Reason, most: int) -> None:
        """A request met a limit without being refused: it is logged, and not counted."""
        now = time.monotonic()
        with self._lock:
            recent = now - self._logged.get(reason, -PAUSE_S) < PAUSE_S
            if recent or reason not in OPTIONS:
                return
            self._logged[reason] = now
        logger.warning(OPTIONS[reason].format(f"{most:,}"))
