"""Quotas of each visitor on a public server: events in progress, open pages, uploaded bytes."""

import time
from collections import OrderedDict, deque
from collections.abc import Iterator

import gradio as gr

from demo.server.generation_queue import READ_TIMEOUT, Recipient
from demo.server.guard import visitor_of
from demo.server.limits import Limits
from demo.server.uploads import UPLOAD_LIFETIME, sweep_uploads

IN_TRANSIT = 20  # messages that may be unfetched while a browser is reading the stream


class Visitors:
    """Counts by visitor address. Every check returns why a request is rejected, or an empty string."""

    def __init__(self, page: gr.Blocks, limits: Limits) -> None:
        self._page, self._limits = page, limits
        self._sessions: dict[str, OrderedDict[str, None]] = {}
        self._uploads: dict[str, deque[tuple[float, int]]] = {}

    def event(self, visitor: str, session: str) -> str:
        """Count an event of a session. Beyond the share of sessions the least recently used one is dropped."""
        share = self._limits.share_events
        if share and sum(name == visitor for name in self._in_progress()) >= share:
            return f"{share} of your requests are in progress already. Try again when they are done"
        if unread(self._page, session) > self._limits.unread:
            return "this page has not fetched the answers to its earlier requests. Reload the page"
        own = self._sessions.setdefault(visitor, OrderedDict())
        own[session] = None
        own.move_to_end(session)
        while len(own) > (self._limits.share_sessions or self._limits.sessions):
            self._drop(own.popitem(last=False)[0])
        while len(self._sessions) > self._limits.sessions:
            for dropped in self._sessions.pop(next(iter(self._sessions))):
                self._drop(dropped)
        return ""

    def upload(self, visitor: str, size: int) -> str:
        """Count an upload of `size` bytes. Walks the complete upload folder."""
        if sweep_uploads() + size > self._limits.uploads:
            return "the server's space for uploads is full. Try again in an hour"
        own, now = self._uploads.setdefault(visitor, deque()), time.monotonic()
        while own and own[0][0] < now - UPLOAD_LIFETIME:
            own.popleft()
        while len(self._uploads) > self._limits.sessions:
            self._uploads.pop(next(iter(self._uploads)))
        share = self._limits.share_uploads
        if share and sum(bytes for _, bytes in own) + size > share:
            return f"your uploads take up {share:,} bytes already. Try again in an hour"
        own.append((now, size))
        return ""

    def _in_progress(self) -> Iterator[str]:
        """The visitor of every event that waits in gradio's queue or runs.

        gradio's list of pending events is no measure: it holds those of closed pages that never fetched the answers.
        """
        queue = self._page._queue
        waiting = (event for line in queue.event_queue_per_concurrency_id.values() for event in line.queue)
        running = (event for job in queue.active_jobs for event in job or ())
        yield from (visitor_of(event.request) for event in (*waiting, *running))

    def _drop(self, session: str) -> None:
        """Delete what gradio holds of a session."""
        queue, holder = self._page._queue, self._page.state_holder
        if session in queue.pending_messages_per_session:
            del queue.pending_messages_per_session[session]
        queue.pending_event_ids_session.pop(session, None)
        with holder.lock:
            holder.session_data.pop(session, None)
            holder.time_last_used.pop(session, None)


def recipient_of(page: gr.Blocks, request: gr.Request) -> Recipient:
    """The browser that reads an answer on the page.

    It has left once it has not fetched messages for READ_TIMEOUT: gradio itself reads on whether or not it fetches.
    """
    session, name = str(request.session_hash), visitor_of(request.request) if request.request else ""
    fetched = time.monotonic()

    def left() -> bool:
        nonlocal fetched
        if unread(page, session) <= IN_TRANSIT:
            fetched = time.monotonic()
        return time.monotonic() - fetched > READ_TIMEOUT

    return Recipient(name, left)


def unread(page: gr.Blocks, session: str) -> int:
    """Number of messages to a session that have not been fetched."""
    messages = page._queue.pending_messages_per_session
    return int(messages[session].qsize()) if session in messages else 0
