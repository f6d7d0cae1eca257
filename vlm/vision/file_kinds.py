"""Which kind of file its first bytes show, for those that are offered as images and are none that we read.

Signatures: the formats' own specifications, collected in https://en.wikipedia.org/wiki/List_of_file_signatures.
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass

HEAD = 4096  # bytes that are looked at: a comment or licence may precede <svg>
SAVE = "Save it as PNG or JPEG"
FETCH = "Fetch the image again"

_BLANK = b"\xef\xbb\xbf \t\r\n"
_SHOWN = 40  # characters of a text file's beginning that a message shows


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a file is, in words, and what to do about it; `code` as in ImageError."""

    name: str
    advice: str = SAVE
    code: str = "image-kind"


_VIDEO = "Save the frame that is meant as PNG or JPEG"
_ARCHIVE = "Unpack it and name the image inside"
_COPY = "Copy the image again: this is not its content"

# (where, bytes, what). The first that matches counts.
_SIGNATURES: tuple[tuple[int, bytes, FileKind], ...] = (
    (0, b"8BPS", FileKind("a Photoshop document")),
    (0, b"%PDF", FileKind("a PDF document", "Save the page that is meant as PNG or JPEG")),
    (0, b"%!PS", FileKind("a PostScript document")),
    (0, b"\xc5\xd0\xd3\xc6", FileKind("a PostScript document (EPS)")),
    (0, b"gimp xcf", FileKind("a GIMP document")),
    (0, b"\xff\x0a", FileKind("a JPEG XL image")),
    (4, b"JXL \r\n", FileKind("a JPEG XL image")),
    (4, b"jP  \r\n", FileKind("a JPEG 2000 image")),
    (0, b"\xff\x4f\xff\x51", FileKind("a JPEG 2000 image")),
    (0, b"\x00\x00\x01\x00", FileKind("a Windows icon")),
    (0, b"\x00\x00\x02\x00", FileKind("a Windows cursor")),
    (0, b"icns", FileKind("a macOS icon")),
    (0, b"DDS ", FileKind("a DirectX texture (DDS)")),
    (0, b"qoif", FileKind("a QOI image")),
    (0, b"#?R", FileKind("a Radiance HDR image")),
    (0, b"v/1\x01", FileKind("an OpenEXR image")),
    (0, b"SIMPLE  =", FileKind("a FITS image")),
    (128, b"DICM", FileKind("a DICOM image")),
    (0, b"\xd7\xcd\xc6\x9a", FileKind("a Windows metafile (WMF)")),
    (40, b" EMF", FileKind("a Windows metafile (EMF)")),
    (0, b"FUJIFILMCCD-RAW", FileKind("a camera's raw file (RAF)")),
    (0, b"IIRO", FileKind("a camera's raw file (ORF)")),
    (0, b"IIRS", FileKind("a camera's raw file (ORF)")),
    (0, b"MMOR", FileKind("a camera's raw file (ORF)")),
    (0, b"IIU\x00", FileKind("a camera's raw file (RW2)")),
    (0, b"FOVb", FileKind("a camera's raw file (X3F)")),
    (0, b"\x00MRM", FileKind("a camera's raw file (MRW)")),
    (0, b"II*\x00", FileKind("a TIFF file without an image that is read, such as a camera's raw file")),
    (0, b"MM\x00*", FileKind("a TIFF file without an image that is read, such as a camera's raw file")),
    (0, b"\x1aE\xdf\xa3", FileKind("a video (Matroska or WebM)", _VIDEO)),
    (8, b"AVI ", FileKind("a video (AVI)", _VIDEO)),
    (0, b"FLV\x01", FileKind("a video (Flash)", _VIDEO)),
    (0, b"\x00\x00\x01\xba", FileKind("a video (MPEG)", _VIDEO)),
    (0, b"\x00\x00\x01\xb3", FileKind("a video (MPEG)", _VIDEO)),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", FileKind("a video (Windows Media)", _VIDEO)),
    (4, b"moov", FileKind("a video (QuickTime)", _VIDEO)),
    (4, b"mdat", FileKind("a video (QuickTime)", _VIDEO)),
    (8, b"WAVE", FileKind("an audio file (WAV)", "Only images are read")),
    (0, b"OggS", FileKind("an audio or video file (Ogg)", "Only images are read")),
    (0, b"ID3", FileKind("an audio file (MP3)", "Only images are read")),
    (0, b"fLaC", FileKind("an audio file (FLAC)", "Only images are read")),
    (0, b"PK\x03\x04", FileKind("a zip archive or office document", _ARCHIVE)),
    (0, b"\x1f\x8b", FileKind("a gzip archive", _ARCHIVE)),
    (0, b"Rar!", FileKind("a RAR archive", _ARCHIVE)),
    (0, b"7z\xbc\xaf", FileKind("a 7-Zip archive", _ARCHIVE)),
    (257, b"ustar", FileKind("a tar archive", _ARCHIVE)),
    (0, b"\x93NUMPY", FileKind("a NumPy array")),
    (0, b"\x89HDF", FileKind("an HDF5 file")),
    (0, b"PAR1", FileKind("a Parquet file", "Name it as a data file: its images are read from its columns")),
    (0, b"\x00\x05\x16\x07", FileKind("macOS's notes about a file (._NAME), not the file", "Name the file without ._")),
    (
        0,
        b"version https://git-lfs.github.com",
        FileKind("a Git LFS pointer, not the image itself", "Fetch the files with: git lfs pull"),
    ),
)

# By Pillow's names, for files of these formats that Pillow cannot open.
_OURS = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG", "PNG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WEBP"),
    (0, b"BM", "BMP"),
)

# Brands of ISO base media files (ISO/IEC 14496-12 and 23008-12; https://mp4ra.org/registered-types/brands).
_AVIF = (b"avif", b"avis")
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_RAW = (b"crx ",)
_AUDIO = (b"M4A ", b"M4B ", b"F4A ")

_ENCODED = (b"data:image/", b"/9j/", b"iVBORw0KGgo", b"R0lGOD", b"UklGR")
_WEB_PAGE = (b"<!doctype html", b"<html", b"<head", b"<body", b"<?xml", b"<!--", b"<error", b"<script", b"<title")


def is_heic(start: bytes) -> bool:
    """Whether a file that begins with `start` is an image of a phone that pillow-heif reads."""
    return _media_brand(start) == "HEIC"


def _format_of(start: bytes) -> str:
    for where, magic, name in _OURS:
        if start.startswith(magic, where):
            return name
    return {"HEIC": "HEIF"}.get(brand := _media_brand(start), brand)


def kind_of(start: bytes, readable: Sequence[str]) -> FileKind | None:
    """The kind of a file that begins with `start` (HEAD bytes) and cannot be opened; None if nothing is known about it.

    `readable`: the formats that can be opened here, by Pillow's names; a file of these is a broken one.
    """
    ours = _format_of(start)
    if ours in readable:
        return FileKind(f"a broken or cut off {ours} image", FETCH, "image-broken")
    for where, magic, kind in _SIGNATURES:
        if start.startswith(magic, where):
            return kind
    if brand := _media_brand(start):
        return _MEDIA[brand]
    if start[:1] == b"P" and start[1:2].isdigit() and start[2:3].isspace():
        return FileKind("a Netpbm image")
    if not start.strip(b"\0"):
        return FileKind("nothing but zero bytes", _COPY)
    return _kind_of_text(start)


_MEDIA = {
    "AVIF": FileKind("an AVIF image"),
    "HEIC": FileKind("a HEIC image", f"{SAVE}; it is read as it is where pillow-heif is installed"),
    "raw": FileKind("a camera's raw file (CR3)"),
    "audio": FileKind("an audio file (MPEG-4)", "Only images are read"),
    "QuickTime": FileKind("a video (QuickTime)", _VIDEO),
    "MPEG-4": FileKind("a video (MPEG-4)", _VIDEO),
}


def _media_brand(start: bytes) -> str:
    """A key of _MEDIA for an ISO base media file, by its main brand, or else by those that it is compatible with."""
    if start[4:8] != b"ftyp":
        return ""
    end = min(int.from_bytes(start[:4], "big"), len(start))
    brands = [start[8:12], *(start[at : at + 4] for at in range(16, end - 3, 4))]
    if brands[0] in _AVIF or (brands[0] in (b"mif1", b"msf1") and not set(_AVIF).isdisjoint(brands)):
        return "AVIF"
    if brands[0] in _HEIC:
        return "HEIC"
    if brands[0] in _RAW:
        return "raw"
    if brands[0] in _AUDIO:
        return "audio"
    return "QuickTime" if brands[0] == b"qt  " else "MPEG-4"


def _kind_of_text(start: bytes) -> FileKind | None:
    text = start.lstrip(_BLANK)
    lower = text.lower()
    if lower.startswith(b"<") and b"<svg" in lower and b"<html" not in lower:
        return FileKind("an SVG drawing")
    if lower.startswith(_WEB_PAGE):
        advice = "The download gave an error page: fetch the image again"
        return FileKind("a web page, not an image", advice, "image-html")
    if text.startswith(_ENCODED):
        return FileKind("an image in base64, not its bytes", "Decode it first")
    shown = text[:_SHOWN].decode("ascii", "replace").split("\n")[0].strip()
    if shown and all(char in string.printable for char in shown):
        return FileKind(f'a text file that begins "{shown}"', FETCH)
    return None
