"""How much of the page each visitor holds, where strangers come: events under way, open pages, uploaded bytes."""

import time
from collections import OrderedDict, deque
from collections.abc import Iterator

import gradio as gr

from demo.server.generation_queue import READ_TIMEOUT, Client
from demo.server.guard import visitor_of
from demo.server.limits import Limits
from demo.server.uploads import UPLOAD_LIFETIME, sweep_uploads

FETCHED = 20  # messages that may be on their way to a browser that fetches them


class Visitors:
    """Counts by address. A share of 0 is no bound. Every check answers with what is too much, or with nothing."""

    def __init__(self, page: gr.Blocks, limits: Limits) -> None:
        self._page, self._limits = page, limits
        self._sessions: dict[str, OrderedDict[str, None]] = {}
        self._uploads: dict[str, deque[tuple[float, int]]] = {}

    def event(self, visitor: str, session: str) -> str:
        """Count an event of a session. Too many sessions: the one used longest ago is forgotten, not refused."""
        share = self._limits.share_events
        if share and sum(name == visitor for name in self._under_way()) >= share:
            return f"{share} of your requests are under way already. Try again when they are done"
        if unread(self._page, session) > self._limits.unread:
            return "the answers to your requests before are not fetched. Reload the page"
        own = self._sessions.setdefault(visitor, OrderedDict())
        own[session] = None
        own.move_to_end(session)
        while len(own) > (self._limits.share_sessions or self._limits.sessions):
            self._forget(own.popitem(last=False)[0])
        while len(self._sessions) > self._limits.sessions:
            for forgotten in self._sessions.pop(next(iter(self._sessions))):
                self._forget(forgotten)
        return ""

    def upload(self, visitor: str, size: int) -> str:
        """Count an upload. Takes as long as a look at the whole upload folder."""
        if sweep_uploads() + size > self._limits.uploads:
            return "the server's room for uploads is full. Try again in an hour"
        own, now = self._uploads.setdefault(visitor, deque()), time.monotonic()
        while own and own[0][0] < now - UPLOAD_LIFETIME:
            own.popleft()
        while len(self._uploads) > self._limits.sessions:
            self._uploads.pop(next(iter(self._uploads)))
        share = self._limits.share_uploads
        if share and sum(bytes for _, bytes in own) + size > share:
            return f"your uploads take {share:,} bytes already. Try again in an hour"
        own.append((now, size))
        return ""

    def _under_way(self) -> Iterator[str]:
        """The visitor of every event that waits in gradio's queue or runs. What gradio calls pending may be long over:
        events of a page that was closed before it fetched the answers."""
        queue = self._page._queue
        waiting = (event for line in queue.event_queue_per_concurrency_id.values() for event in line.queue)
        running = (event for job in queue.active_jobs for event in job or ())
        yield from (visitor_of(event.request) for event in (*waiting, *running))

    def _forget(self, session: str) -> None:
        """Drop what gradio holds of a session."""
        queue, holder = self._page._queue, self._page.state_holder
        if session in queue.pending_messages_per_session:
            del queue.pending_messages_per_session[session]
        queue.pending_event_ids_session.pop(session, None)
        with holder.lock:
            holder.session_data.pop(session, None)
            holder.time_last_used.pop(session, None)


def client_of(page: gr.Blocks, request: gr.Request) -> Client:
    """Who reads an answer on the page. gradio takes it from us whether or not a browser fetches it from there."""
    session, name = str(request.session_hash), visitor_of(request.request) if request.request else ""
    fetched = time.monotonic()

    def left() -> bool:
        nonlocal fetched
        if unread(page, session) <= FETCHED:
            fetched = time.monotonic()
        return time.monotonic() - fetched > READ_TIMEOUT

    return Client(name, left)


def unread(page: gr.Blocks, session: str) -> int:
    """Messages to a session that nobody has fetched yet."""
    messages = page._queue.pending_messages_per_session
    return int(messages[session].qsize()) if session in messages else 0
