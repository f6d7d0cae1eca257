"""How much of the page each visitor holds, where strangers come: events under way, open pages, uploaded bytes."""

import time
from collections import OrderedDict, deque
from collections.abc import Iterator

import gradio as gr

from demo.limits import Limits
from demo.uploads import uploaded_bytes


class Visitors:
    """Counts by address. A share of 0 is no bound. Every check answers with what is too much, or with nothing."""

    def __init__(self, page: gr.Blocks, limits: Limits, kept_seconds: float) -> None:
        """`kept_seconds` is how long uploads are kept."""
        self._page, self._limits, self._kept = page, limits, kept_seconds
        self._sessions: dict[str, OrderedDict[str, None]] = {}
        self._uploads: dict[str, deque[tuple[float, int]]] = {}

    def event(self, visitor: str, session: str) -> str:
        """Count an event of a session. Too many sessions: the one used longest ago is forgotten, not refused."""
        own = self._sessions.setdefault(visitor, OrderedDict())
        share = self._limits.share_events
        if share and sum(name in own for name in self._under_way()) >= share:
            return f"{share} of your requests are under way already. Try again when they are done"
        own[session] = None
        own.move_to_end(session)
        while self._limits.share_sessions and len(own) > self._limits.share_sessions:
            self._forget(own.popitem(last=False)[0])
        self._drop_unused()
        return ""

    def upload(self, visitor: str, size: int) -> str:
        """Count an upload."""
        if uploaded_bytes() + size > self._limits.uploads:
            return "the server's room for uploads is full. Try again in an hour"
        own, now = self._uploads.setdefault(visitor, deque()), time.monotonic()
        while own and own[0][0] < now - self._kept:
            own.popleft()
        share = self._limits.share_uploads
        if share and sum(bytes for _, bytes in own) + size > share:
            return f"your uploads take {share:,} bytes already. Try again in an hour"
        own.append((now, size))
        return ""

    def _under_way(self) -> Iterator[str | None]:
        """The session of every event that waits in gradio's queue or runs. What it calls pending may be long over: the
        events of a page that was closed before it fetched the answers."""
        queue = self._page._queue
        waiting = (event for line in queue.event_queue_per_concurrency_id.values() for event in line.queue)
        running = (event for job in queue.active_jobs for event in job or ())
        yield from (event.session_hash for event in (*waiting, *running))

    def _forget(self, session: str) -> None:
        """Drop what gradio holds of a session."""
        holder = self._page.state_holder
        with holder.lock:
            holder.session_data.pop(session, None)
            holder.time_last_used.pop(session, None)

    def _drop_unused(self) -> None:
        """Names of sessions and of visitors do not pile up: the newest count."""
        for counted in (self._sessions, self._uploads):
            while len(counted) > 10 * self._limits.sessions:
                counted.pop(next(iter(counted)))
        for own in self._sessions.values():
            while len(own) > self._limits.sessions:
                own.popitem(last=False)
