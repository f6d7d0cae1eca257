"""The image in a data URL. No address is fetched and no file is opened."""

import base64
import binascii
from urllib.parse import unquote_to_bytes

from demo.server.limits import Limits
from demo.server.refusals import Limit
from demo.server.visitor_errors import RequestError
from llm.formats.conversation import ImageRef

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
    head, comma, body = url.strip().partition(",")
    scheme, _, kind = head[:LONGEST_HEAD].partition(":")
    mime, *parameters = [part.strip().lower() for part in kind.split(";")]
    is_image = mime.startswith("image/") or mime in UNTYPED
    if not comma or scheme.lower() != "data" or not is_image or parameters[-1:] != ["base64"]:
        found = "an image that is not a data:image/...;base64,... URL"
        raise RequestError(where, found, "Send the image itself: no address is fetched and no file is opened")
    encoded = body.encode("utf-8", "replace")
    encoded = unquote_to_bytes(encoded) if b"%" in encoded else encoded
    encoded = encoded.translate(_URL_SAFE, _BLANKS).rstrip(b"=")
    if len(encoded) > limits.image.max_bytes * 4 // 3 + 4:
        most = limits.image.max_bytes
        found = f"the image is larger than {most:,} bytes"
        raise RequestError(where, found, "Send a smaller copy", limit=Limit("image_bytes", most))
    try:
        data = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except binascii.Error as error:
        raise RequestError(where, f"an image in invalid base64 ({error})", "Encode it again") from error
    if not data:
        raise RequestError(where, "an image of 0 bytes", "Choose the file again")
    return ImageRef(data=data)
