"""Name the encoding of text that is not UTF-8, with the command that converts it."""

import codecs
import re

from llm.errors import Place, RecordError

_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what `surrogateescape` makes of bytes that are not UTF-8
_BOMS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_PAIR = re.compile(rb"[\x81-\xfe][\xa1-\xfe]")  # a character of GB2312; Latin text has single bytes above 0x7f
_PAIRED = 0.8  # share of the bytes above 0x7f that lie in such pairs
_ICONV = {"UTF-16": "UTF-16", "UTF-32": "UTF-32", "GBK": "GB18030", "Windows-1252": "WINDOWS-1252"}


def wide_encoding(start: bytes) -> str:
    """`UTF-16` or `UTF-32` by the first bytes of a file, with or without a byte order mark; empty for others."""
    marked = next((name for mark, name in _BOMS.items() if start.startswith(mark)), "")
    if marked:
        return marked
    return "UTF-16" if start[:64].count(0) > 2 and _alternates(start[:64]) else ""


def _alternates(start: bytes) -> bool:
    """Whether all zero bytes are at even or all at odd places, as in ASCII text in UTF-16; damage leaves runs."""
    places = {index % 2 for index, byte in enumerate(start) if not byte}
    return len(places) == 1


def encoding_error(place: Place, reason: str, encoding: str = "") -> RecordError:
    """The error of a file that is not UTF-8; `encoding` is what it seems to be."""
    advice = "Save the file as UTF-8"
    if encoding:
        advice = f"Save it as UTF-8, in Excel as CSV UTF-8, or by iconv -f {_ICONV[encoding]} -t UTF-8 OLD > NEW"
    return RecordError(place, "encoding", f"not UTF-8 ({reason})", advice, "encoding")


def find_encoding_error(place: Place, text: str) -> RecordError | None:
    """The error of a text that was read with `surrogateescape` and has bytes that are not UTF-8; None for others."""
    found = None if text.isascii() else _NOT_UTF8.search(text)
    if not found:
        return None
    guess = _guess(text[found.start() : found.start() + 4096].encode("utf-8", "surrogateescape"))
    byte = f"byte 0x{ord(found.group()) - 0xDC00:02x}"
    return encoding_error(place, f"{byte}; it looks like {guess}" if guess else byte, guess)


def _guess(data: bytes) -> str:
    """GBK or Windows-1252, the encodings that editors and Excel write on Chinese and Western systems; or empty."""
    high = sum(byte > 0x7F for byte in data)
    paired = 2 * len(_PAIR.findall(data)) >= max(2, _PAIRED * high)
    if paired and _decodes(data, "gb18030"):
        return "GBK"
    return "Windows-1252" if _decodes(data, "cp1252") else ""


def _decodes(data: bytes, encoding: str) -> bool:
    """Whether the bytes are text of this encoding; the last character may be cut off."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeDecodeError:
        return False
    return True
