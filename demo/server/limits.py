"""What a stranger may send. Everything beyond is refused before it is parsed, decoded or queued."""

from dataclasses import dataclass, replace

from vlm.vision.images import ImageLimits

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
IMAGE = ImageLimits(max_pixels=20_000_000, max_bytes=10 * 2**20, formats=FORMATS)
SHORTEST_TOKEN = 16  # characters; a shorter one is guessed


@dataclass(frozen=True, slots=True)
class JsonBounds:
    """How large the JSON of a request may be apart from what its strings hold."""

    items: int = 20_000  # values of lists and objects
    depth: int = 24  # brackets inside each other; a message of OpenAI's API has six
    structure: int = 500_000  # bytes outside strings, white space among them
    quotes: int = 250_000  # quotation marks, those inside strings among them


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request, of those that wait, and of what one visitor may hold of them.

    A share of 0 is no bound: on this machine alone there is one visitor. `strangers` has the others.
    """

    images: int = 4  # a message
    image: ImageLimits = IMAGE
    text: int = 100_000  # characters of all messages
    messages: int = 200
    parts: int = 64  # of a message
    stop_words: int = 16
    body: int = 64 * 2**20  # bytes: four images of 10 MB in base64, and room
    event: int = 2 * 2**20  # bytes of an event of the page, whose pictures are uploaded before: a chat, and room
    json: JsonBounds = JsonBounds()
    waiting: int = 8  # requests that wait for their turn
    new_tokens: int = 4096
    head_seconds: float = 15.0  # for the headers of a request to arrive
    body_seconds: float = 120.0  # for the whole body of a request to arrive
    send_seconds: float = 60.0  # for a client to take a part of an answer
    uploads: int = 4 * 2**30  # bytes in the upload folder
    unread: int = 200  # messages to a session that nobody fetches, until its events are refused
    sessions: int = 256  # open pages whose state is held; those used longest ago are forgotten first
    share_waiting: int = 0  # of one visitor: questions that wait or are answered
    share_events: int = 0  # of one visitor: events of the page under way
    share_uploads: int = 0  # of one visitor: bytes within the time that uploads are kept
    share_sessions: int = 0  # of one visitor: open pages
    share_connections: int = 0  # of one visitor


DEFAULT = Limits()


def public_limits(limits: Limits = DEFAULT) -> Limits:
    """The same where strangers come: nobody can take more than a share. A browser opens six connections, and each open
    page holds one of them."""
    return replace(
        limits,
        share_waiting=max(1, limits.waiting // 3),
        share_events=limits.waiting,
        share_uploads=256 * 2**20,
        share_sessions=limits.sessions // 16,
        share_connections=64,
    )
