"""Kinds of damage to records: what each does to a sound record, and the code it must get."""

import io
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

Json = dict[str, object]
VARIANTS = 4
WORDS = ("What is this?", "图里有什么？", "Où est-ce ?", "Tell me more")


def sound_record(number: int, image: str = "ok.png") -> Json:
    """A sound record; every third has an image."""
    mark = "<image>\n" if number % 3 == 0 else ""
    turns = [
        {"from": "human", "value": f"{mark}{WORDS[number % 4]} {number}"},
        {"from": "gpt", "value": f"It is {number}. 是{number}。"},
    ]
    row: Json = {"id": f"r{number}", "conversations": turns}
    return row | {"image": image} if mark else row


def image_record(number: int, image: object, text: str = "<image>\nWhat?", answer: str = "A cat.") -> Json:
    """A record with images."""
    turns = [{"from": "human", "value": text}, {"from": "gpt", "value": f"{answer} {number}"}]
    return {"id": f"d{number}", "image": image, "conversations": turns}


def chat_record(number: int, *turns: tuple[str, object]) -> Json:
    """A record of turns without images."""
    return {"id": f"d{number}", "conversations": [{"from": who, "value": text} for who, text in turns]}


def image_bytes(kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (8, 6), **more: object) -> bytes:
    """The bytes of a small image file."""
    file = io.BytesIO()
    Image.effect_noise(size, 50).convert(mode).save(file, kind, **more)
    return file.getvalue()


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    return file.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return image_bytes("JPEG", exif=exif)


@dataclass(frozen=True, slots=True)
class Damage:
    """A kind of damage: `line` makes the text of the damaged record; `files` are written beside the data."""

    code: str
    line: Callable[[int], str]
    files: Callable[[int], Mapping[str, bytes]] = field(default=lambda number: {})


def _row(code: str, make: Callable[[int], object]) -> Damage:
    return Damage(code, lambda number: json.dumps(make(number), ensure_ascii=False))


def _file(code: str, make: Callable[[int], bytes]) -> Damage:
    def line(number: int) -> str:
        return json.dumps(image_record(number, f"x{number}.jpg"))

    return Damage(code, line, lambda number: {f"x{number}.jpg": make(number)})


def _text(number: int) -> str:
    return json.dumps(sound_record(3 * number + 901), ensure_ascii=False)


TOKENS = ("<|im_end|>", "</s>", "[INST]", "<image>")
DAMAGES: dict[str, Damage] = {
    "trailing comma": Damage("json-comma", lambda n: (_text(n)[:-1] + ",}", _text(n).replace("}]", "},]"))[n % 2]),
    "NaN": _row("json-nan", lambda n: sound_record(n) | {"score": (float("nan"), float("inf"), -float("inf"))[n % 3]}),
    "not UTF-8": Damage("encoding", lambda n: _text(n).replace("It", "I\udce9" + "t" * n)),
    "half a line": Damage("json-cut", lambda n: _text(n)[: 20 + 7 * n]),
    "single quotes": Damage("json-broken", lambda n: _text(n).replace('"', "'", 2 + n)),
    "two records": Damage("json-extra", lambda n: _text(n) + " " * n + _text(n)),
    "nested": Damage("json-deep", lambda n: '{"a":' + "[" * (100_000 + n)),
    "no object": _row("row-type", lambda n: ([1, 2], "text", 5, None)[n]),
    "turns are no list": _row("field-type", lambda n: {"id": n, "conversations": ("Hi", 5, {"a": 1}, True)[n]}),
    "a text is no text": _row("field-type", lambda n: chat_record(n, ("human", ("q", 1, 2, 3)[n]), ("gpt", [n]))),
    "no value": _row(
        "field-missing", lambda n: {"id": n, "conversations": [{"from": "human"}, {"from": "gpt"}][n % 2 :]}
    ),
    "unknown role": _row(
        "role-unknown", lambda n: chat_record(n, (("alien", "", "Humans", "用户")[n], "Q"), ("gpt", "A"))
    ),
    "roles out of order": _row("role-order", lambda n: chat_record(n, *[("human", f"Q{n}")] * (2 + n), ("gpt", "A"))),
    "answer empty": _row("answer-empty", lambda n: chat_record(n, ("human", f"Q{n}"), ("gpt", " \n　\t"[:n]))),
    "question empty": _row("turn-empty", lambda n: chat_record(n, ("human", " \n　\t"[:n]), ("gpt", f"A{n}"))),
    "no answer": _row(
        "answer-missing", lambda n: chat_record(n, ("human", f"Q{n}"), *[("gpt", "A"), ("human", "Q")] * n)
    ),
    "no turns": _row("turns-empty", lambda n: {"id": f"d{n}", "conversations": [], "n": n}),
    "two systems": _row(
        "system-twice", lambda n: chat_record(n, ("system", "S"), ("human", "Q"), ("gpt", "A")) | {"system": "S"}
    ),
    "too few marks": _row("image-count", lambda n: image_record(n, ["ok.png"] * (n + 2))),
    "too many marks": _row("image-count", lambda n: image_record(n, "ok.png", "<image>" * (n + 2))),
    "marks without image": _row(
        "image-count", lambda n: chat_record(n, ("human", "<image>\n" * (n + 1)), ("gpt", "A"))
    ),
    "image in the answer": _row(
        "image-in-answer", lambda n: image_record(n, ["ok.png"] * (1 + n % 2), answer="See <image>")
    ),
    "image is no path": _row(
        "image-ref",
        lambda n: image_record(n, (5, {"a": 1}, [7], "data:image/png;base64,")[n]),
    ),
    "path leaves": _row(
        "image-outside", lambda n: image_record(n, ("/etc/x.png", "../x.png", "a/../../x.png", "a\0.png")[n])
    ),
    "URL": _row(
        "image-url", lambda n: image_record(n, ("http://a/x.png", "https://a", "data:text/html;base64,", "s3://a")[n])
    ),
    "image missing": _row(
        "image-missing", lambda n: image_record(n, ("no.png", ".png", "a/b.png", "x" * 300 + ".png")[n])
    ),
    "image empty": _file("image-empty", lambda n: b""),
    "image is a page": _file(
        "image-html", lambda n: (b"<!DOCTYPE html>", b"\n<html>", b"<?xml?>", b"\xef\xbb\xbf<HTML>")[n]
    ),
    "image unknown": _file("image-kind", lambda n: bytes([n]) * 99),
    "image truncated": _file("image-broken", lambda n: image_bytes("JPEG", size=(64, 64))[: -200 - 50 * n]),
    "image huge": _file("image-huge", lambda n: bomb(9000 + n)),
    "image is a line": _file("image-thin", lambda n: image_bytes("PNG", "1", ((201, 1), (1, 60_000))[n % 2])),
    "pages": _file("image-pages", lambda n: animated("TIFF")),
    "animation": _file("image-animated", lambda n: animated(("GIF", "PNG", "WEBP", "GIF")[n]) + b"\0" * (n == 3)),
    "odd mode": _file(
        "image-mode", lambda n: image_bytes(*(("JPEG", "CMYK"), ("TIFF", "CMYK"), ("PNG", "I"), ("TIFF", "LAB"))[n])
    ),
    "floating point": _file("image-pixels", lambda n: image_bytes("TIFF", "F", (4 + n, 4))),
    "EXIF": _file("image-exif", lambda n: turned((3, 6, 8, 2)[n])),
    "special token": _row(
        "token-literal",
        lambda n: chat_record(n, ("human", f"Q {TOKENS[n]}"[: 99 if n < 3 else 2]), ("gpt", f"A{TOKENS[n % 3]}")),
    ),
    "box in pixels": _row("box-pixels", lambda n: image_record(n, "ok.png", answer=f"At [{n}, 20.5, 30, 4{n}]")),
    "same id": _row("id-duplicate", lambda n: sound_record(901 + n) | {"id": f"r{n}"}),
    "same row": _row("row-duplicate", lambda n: sound_record(n) | {"id": f"other{n}"}),
    "lost surrogate": Damage(
        "surrogate", lambda n: json.dumps(chat_record(n, ("human", "Q"), ("gpt", "A" * n + "\ud83d")))
    ),
    "another format": _row("format-mixed", lambda n: {"instruction": f"I{n}", "output": "A"}),
}


def bomb(side: int) -> bytes:
    """A valid PNG of a few kilobytes that decodes to hundreds of megabytes, with one bit per pixel."""
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1 + (side + 7) // 8) * side, 1)
    chunks = ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(c)) + t + c + struct.pack(">I", zlib.crc32(t + c)) for t, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def write(folder: Path, damage: Damage, number: int) -> Path:
    """A file of sound records whose last one is damaged."""
    (folder / "ok.png").write_bytes(image_bytes())
    for name, content in damage.files(number).items():
        (folder / name).write_bytes(content)
    lines = [json.dumps(sound_record(one), ensure_ascii=False) for one in range(6)] + [damage.line(number)]
    path = folder / "rows.jsonl"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    return path
