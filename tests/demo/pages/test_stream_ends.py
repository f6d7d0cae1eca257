"""No event is lost that a visitor sends while the stream of the events before it is being closed."""

import asyncio

from starlette.types import Message, Receive, Scope, Send

from demo.pages.page_paths import STREAM
from demo.pages.stream_ends import END, StreamEnds

SCOPE: Scope = {"type": "http", "path": STREAM, "query_string": b"session_hash=mine"}
START: Message = {"type": "http.response.start", "status": 200, "headers": []}


async def closing(scope: Scope, receive: Receive, send: Send) -> None:
    """What gradio sends at the end of a stream."""
    await send(START)
    await send({"type": "http.response.body", "body": END + b',"event_id":null}\n\n', "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def played(session: str, leaves: bool, read_seconds: float) -> list[str]:
    """In which order a page sees the end of its stream, leaves it, and gets the answer to an event of `session`."""
    seen: list[str] = []
    left, ended = asyncio.Event(), asyncio.Event()
    ends = StreamEnds(read_seconds)

    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    async def to_stream(message: Message) -> None:
        if END in message.get("body", b""):
            seen.append("close_stream")
            ended.set()

    async def to_event(message: Message) -> None:
        seen.append("answer")

    stream = asyncio.create_task(ends.stream(closing, SCOPE, receive, to_stream))
    await ended.wait()
    answer = asyncio.ensure_future(ends.after(session, to_event)(START))
    for _ in range(5):
        await asyncio.sleep(0)
    if leaves:
        seen.append("left")
        left.set()
    await asyncio.gather(stream, answer)
    await ends.after(session, to_event)({"type": "http.response.body"})  # nothing waits any more
    return seen


def test_an_answer_waits_until_the_page_has_read_the_end_of_its_stream() -> None:
    assert asyncio.run(played("mine", True, 60)) == ["close_stream", "left", "answer", "answer"]
    assert asyncio.run(played("other", True, 60)) == ["close_stream", "answer", "left", "answer"]
    assert asyncio.run(played("mine", False, 0.01)) == ["close_stream", "answer", "answer"], "a program that stays"
