"""Limits on requests. What exceeds them is rejected before it is parsed, decoded or queued."""

from dataclasses import dataclass, replace

from vlm.vision.images import ImageLimits
from vlm.vision.videos import VideoLimits

IMAGE = ImageLimits(max_bytes=10 * 2**20)  # pixels, shapes and formats as in training: one verdict on an image
VIDEO = VideoLimits(max_seconds=600.0, max_frames=36_000, max_bytes=32 * 2**20)  # decoded while others wait
SHORTEST_TOKEN = 16  # characters of an access token; a shorter one can be guessed
MOST_MESSAGES = 2000  # that an operator may allow; beyond them a request is refused while it is parsed


@dataclass(frozen=True, slots=True)
class JsonBounds:
    """Limits on the structure of a JSON request; the contents of its strings are not counted."""

    items: int = 20_000  # values in lists and objects
    depth: int = 24  # nested brackets; a message of OpenAI's API has six
    structure: int = 500_000  # bytes outside strings, white space included
    quotes: int = 250_000  # quotation marks, those inside strings included


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request, of the queue, and of one visitor's share.

    A share of 0 is no bound: a server that only this machine reaches has one visitor. `public_limits` sets the shares.
    """

    images: int = 4  # per message
    image: ImageLimits = IMAGE
    videos: int = 1  # per message
    video: VideoLimits = VIDEO
    text: int = 100_000  # characters of all messages
    messages: int = 200
    parts: int = 64  # per message
    stop_words: int = 16
    body: int = 64 * 2**20  # bytes of a request: four images of 10 MB in base64, with a margin
    event: int = 2 * 2**20  # bytes of a page event, whose images are uploaded before it: a chat, with a margin
    json: JsonBounds = JsonBounds()
    waiting: int = 24  # requests waiting for their turn: with `together`, the 32 that evaluation programs send at once
    together: int = 8  # requests for one model that are answered at once
    events: int = 1024  # page events in gradio's queue; a page that is opened sends six at once
    new_tokens: int = 4096
    model_memory: int = 0  # bytes that all models may take; 0: what the device has free
    head_seconds: float = 15.0  # time for the headers of a request to arrive
    body_seconds: float = 120.0  # time for the complete body of a request to arrive
    send_seconds: float = 60.0  # time for a client to read a full write buffer
    uploads: int = 4 * 2**30  # bytes in the upload folder
    unread: int = 200  # messages that a session has not fetched; beyond them its events are rejected
    sessions: int = 256  # open pages whose state is held; the least recently used are dropped first
    share_waiting: int = 0  # per visitor: requests waiting or being answered
    share_events: int = 0  # per visitor: page events in progress
    share_uploads: int = 0  # per visitor: bytes uploaded within the lifetime of an upload
    share_sessions: int = 0  # per visitor: open pages
    share_connections: int = 0  # per visitor: connections

    @property
    def requests(self) -> int:
        """Requests that are answered or wait at once."""
        return self.waiting + self.together


DEFAULT = Limits()


def public_limits(limits: Limits = DEFAULT) -> Limits:
    """The limits of a public server, where no visitor gets more than a share.

    A browser opens six connections, and each open page holds one of them. The share of events lets a visitor open
    several pages at once: an event beyond it is refused, and a page that is being opened does not repeat it.
    """
    return replace(
        limits,
        share_waiting=max(1, limits.waiting // 3),
        share_events=limits.events // 32,
        share_uploads=256 * 2**20,
        share_sessions=limits.sessions // 16,
        share_connections=64,
    )


def fitting(limits: Limits) -> Limits:
    """The limits with room in a request, and in an event of the page, for the text and the images that are allowed."""
    json = replace(
        limits.json,
        items=max(limits.json.items, 100 * limits.messages),
        quotes=max(limits.json.quotes, 5 * limits.text // 2),
    )
    images = limits.images * (limits.image.max_bytes * 4 // 3 + 4)  # in base64
    body = max(limits.body, images + 4 * limits.text + 2**20)
    return replace(limits, body=body, event=max(limits.event, 20 * limits.text), json=json)
