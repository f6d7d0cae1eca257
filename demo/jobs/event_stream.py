"""The events of a job or run as server-sent events, until it has ended."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

from anyio.to_thread import run_sync
from fastapi.responses import StreamingResponse

from demo.jobs.objects import event_id, event_object
from vlm.service.store.database import Database
from vlm.service.store.event_table import list_events
from vlm.service.store.job_table import find_job
from vlm.service.store.rows import Event

PAUSE_S = 0.5
ALIVE_S = 15.0  # a comment so often, so that proxies do not close a silent connection
PAGE = 100
Read = Callable[[int], tuple[list[Event], bool]]
Changes = Callable[[], int]  # a number that stays as it is while there is nothing new to read


def stream_events(read: Read, after: int, changes: Changes | None = None) -> StreamingResponse:
    """The events after the one of that order, each with its id, which a client sends that lost its connection.

    `read` returns at most PAGE events after one, and whether there can be no more after these. With `changes`, a stream
    that waits costs next to nothing: it reads only when they have changed.
    """
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_stream(read, after, changes), media_type="text/event-stream", headers=headers)


async def _stream(read: Read, after: int, changes: Changes | None) -> AsyncIterator[str]:
    silent, seen = 0.0, -1
    while True:
        now = changes() if changes is not None else seen + 1
        events, ended = (await run_sync(read, after)) if now != seen else ([], False)
        seen = now if not events else -1  # there may be more than a page
        for event in events:
            after, silent = event.sequence, 0.0
            yield f"id: {event_id(event.sequence)}\ndata: {json.dumps(event_object(event))}\n\n"
        if ended and not events:
            yield "data: [DONE]\n\n"
            return
        if not events:
            await asyncio.sleep(PAUSE_S)
            silent += PAUSE_S
        if silent >= ALIVE_S:
            silent = 0.0
            yield ": waiting\n\n"


def job_reader(database: Database, job: str) -> Read:
    """Reads new events, and whether the job had ended before they were read: its last event is part of its end."""

    def read(after: int) -> tuple[list[Event], bool]:
        found = find_job(database, job)
        ended = found is None or found.is_final
        return list_events(database, job, PAGE, after=after)[0], ended

    return read
