"""Thirty archives that would write, read or allocate where they must not, if they were unpacked without care."""

import gzip
import io
import os
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable

Make = Callable[[str], bytes]  # from the path of a canary
IMAGE = b"\x89PNG\r\n\x1a\n"


def zip_with(*members: tuple[str, bytes], mode: int = 0, flags: int = 0) -> bytes:
    """A zip file whose members have these names, whatever they are."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members:
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, mode << 16
            packed.writestr(info, content)
    data = bytearray(stream.getvalue())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(mark)
        while flags and at >= 0:
            data[at + place : at + place + 2] = struct.pack("<H", flags)
            at = data.find(mark, at + 4)
    return bytes(data)


def tar_with(*members: tuple[str, bytes, bytes, str], mode: str = "w:gz") -> bytes:
    """A tar file of members (name, kind, content, target of a link)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, format=tarfile.GNU_FORMAT) as packed:
        for name, kind, content, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, len(content)
            packed.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def _through_a_link(canary: str) -> bytes:
    """A link to the canary's folder, then a file through it."""
    folder, name = os.path.split(canary)
    return tar_with(("out", tarfile.SYMTYPE, b"", folder), (f"out/{name}", tarfile.REGTYPE, IMAGE, ""))


def _zip_through_a_link(canary: str) -> bytes:
    folder, name = os.path.split(canary)
    stream = io.BytesIO(zip_with(("out", folder.encode()), mode=0o120777))
    with zipfile.ZipFile(stream, "a") as packed:
        packed.writestr(f"out/{name}", IMAGE)
    return stream.getvalue()


def _header_bomb(kind: bytes) -> bytes:
    """A header of an extension with many zeros, which tar readers take into memory at once."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = kind, 2**26
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1) as packed:
        packed.write(info.tobuf(tarfile.GNU_FORMAT))
        zeros = bytes(1 << 24)
        for _ in range(info.size >> 24):
            packed.write(zeros)
    return stream.getvalue()


def _overlapping() -> bytes:
    """Many entries that share one compressed member (Fifield, "A better zip bomb", 2019)."""
    data = zip_with(("a.png", bytes(8 << 20)))
    start = data.index(b"PK\x01\x02")
    entry = data[start : data.index(b"PK\x05\x06")]
    entries = b"".join(entry.replace(b"a.png", f"{number:05d}".encode()) for number in range(9000))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9000, 9000, len(entries), start, 0)
    return data[:start] + entries + end


def _sparse(canary: str) -> bytes:
    """A sparse member of a terabyte in a few bytes."""
    stream = io.BytesIO()
    info = tarfile.TarInfo("a.png")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[386:410] = b"%011o\0%011o\0" % (0, 512)
    block[483:495] = b"\x80" + (2**40).to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    stream.write(bytes(block[:512]) + bytes(512) + bytes(1024))
    return stream.getvalue()


def _damaged(seed: int) -> bytes:
    chance, data = random.Random(seed), bytearray(zip_with(("a.png", random.Random(seed).randbytes(3000))))
    for _ in range(20):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def _member(name: str) -> tuple[Make, Make]:
    """The same name in a zip and in a tar file."""
    return (lambda _: zip_with((name, IMAGE))), (lambda _: tar_with((name, tarfile.REGTYPE, IMAGE, "")))


def _link(kind: bytes, target: str) -> Make:
    return lambda canary: tar_with(("a.png", kind, b"", target or canary))


ARCHIVES: dict[str, Make] = {
    "absolute.zip": lambda canary: zip_with((canary, IMAGE)),
    "absolute.tar.gz": lambda canary: tar_with((canary, tarfile.REGTYPE, IMAGE, "")),
    "parent.zip": lambda canary: zip_with(("../" * 12 + canary[1:], IMAGE)),
    "parent.tar.gz": lambda canary: tar_with(("../" * 12 + canary[1:], tarfile.REGTYPE, IMAGE, "")),
    "inner-parent.zip": lambda canary: zip_with(("a/../../../../../../../../.." + canary, IMAGE)),
    "backslash.zip": lambda canary: zip_with(("..\\..\\..\\..\\" + canary.replace("/", "\\"), IMAGE)),
    "drive.zip": _member("C:\\a.png")[0],
    "dots.zip": _member("..")[0],
    "dots.tar.gz": _member("a/..")[1],
    "control.zip": _member("a\n\x1b[2Jb.png")[0],
    "control.tar.gz": _member("a\r\nb.png")[1],
    "long.zip": _member("a" * 300 + ".png")[0],
    "deep.tar.gz": _member("a/" * 700 + "b.png")[1],
    "link.tar.gz": _link(tarfile.SYMTYPE, "/etc/passwd"),
    "link-out.tar.gz": _link(tarfile.SYMTYPE, ""),
    "hard-link.tar.gz": _link(tarfile.LNKTYPE, "/etc/passwd"),
    "through-a-link.tar.gz": _through_a_link,
    "through-a-link.zip": _zip_through_a_link,
    "link.zip": lambda _: zip_with(("a.png", b"/etc/passwd"), mode=0o120777),
    "pipe.tar.gz": _link(tarfile.FIFOTYPE, "x"),
    "device.tar.gz": _link(tarfile.CHRTYPE, "x"),
    "pipe.zip": lambda _: zip_with(("a.png", b""), mode=0o010644),
    "encrypted.zip": lambda _: zip_with(("a.png", IMAGE), flags=1),
    "bomb.zip": lambda _: zip_with(("a.png", bytes(1 << 28))),
    "bomb.tar.gz": lambda _: tar_with(("a.png", tarfile.REGTYPE, bytes(1 << 28), "")),
    "overlapping.zip": lambda _: _overlapping(),
    "name-bomb.tar.gz": lambda _: _header_bomb(tarfile.GNUTYPE_LONGNAME),
    "header-bomb.tar.gz": lambda _: _header_bomb(tarfile.XHDTYPE),
    "sparse.tar": _sparse,
    "twice.zip": lambda _: zip_with(("a.png", IMAGE), ("a.png", IMAGE)),
    "file-and-folder.tar.gz": lambda _: tar_with(
        ("a", tarfile.REGTYPE, IMAGE, ""), ("a/b.png", tarfile.REGTYPE, IMAGE, "")
    ),
    "cut.zip": lambda _: zip_with(("a.png", random.Random(0).randbytes(3000)))[:2000],
    "changed.zip": lambda _: _damaged(1),
    "no-archive.tar": lambda _: b"no archive",
}
