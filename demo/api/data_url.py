"""The image or video in a data URL. No address is fetched and no file is opened."""

import base64
import binascii
from urllib.parse import unquote_to_bytes

from demo.server.limits import Limits
from demo.server.refusals import Limit
from demo.server.visitor_errors import RequestError
from llm.formats.conversation import ImageRef, VideoRef

UNTYPED = ("", "application/octet-stream")  # the type of an image is read from its bytes
LONGEST_HEAD = 1000  # characters before the comma; a URL without one may be megabytes
_BLANKS = b" \t\r\n"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def image_of(url: str, where: str, limits: Limits) -> ImageRef:
    """The encoded bytes of the image, not yet validated.

    Accepted are any case, parameters, percent-encoding, and base64 in lines, without padding or in the alphabet of
    URLs (RFC 2397, RFC 4648). Raises RequestError for anything but a data URL of an image, for what is not base64 and
    for more bytes than the limit, which are not decoded.
    """
    return ImageRef(data=_bytes(url, where, "image", limits.image.max_bytes))


def video_of(url: str, where: str, limits: Limits) -> VideoRef:
    """The encoded bytes of a video; as `image_of`."""
    return VideoRef(data=_bytes(url, where, "video", limits.video.max_bytes))


def _bytes(url: str, where: str, kind: str, most: int) -> bytes:
    article = "an" if kind == "image" else "a"
    head, comma, body = url.strip().partition(",")
    scheme, _, named = head[:LONGEST_HEAD].partition(":")
    mime, *parameters = [part.strip().lower() for part in named.split(";")]
    is_kind = mime.startswith(f"{kind}/") or mime in UNTYPED
    if not comma or scheme.lower() != "data" or not is_kind or parameters[-1:] != ["base64"]:
        found = f"{article} {kind} that is not a data:{kind}/...;base64,... URL"
        raise RequestError(where, found, f"Send the {kind} itself: no address is fetched and no file is opened")
    encoded = body.encode("utf-8", "replace")
    encoded = unquote_to_bytes(encoded) if b"%" in encoded else encoded
    encoded = encoded.translate(_URL_SAFE, _BLANKS).rstrip(b"=")
    if len(encoded) > most * 4 // 3 + 4:
        found = f"the {kind} is larger than {most:,} bytes"
        raise RequestError(
            where, found, "Send a smaller copy", limit=Limit("image_bytes" if kind == "image" else "video_bytes", most)
        )
    try:
        data = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except binascii.Error as error:
        raise RequestError(where, f"{article} {kind} in invalid base64 ({error})", "Encode it again") from error
    if not data:
        raise RequestError(where, f"{article} {kind} of 0 bytes", "Choose the file again")
    return data
