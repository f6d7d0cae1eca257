"""Archives of strangers: every one is unpacked completely inside its folder, or refused with nothing left."""

import gzip
import io
import os
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from vlm.service.archives import ArchiveError, ArchiveLimits, unpack

USUAL = ArchiveLimits()
HOSTILE_NAMES = [
    "../out", "a/../../out", "/etc/passwd", "/tmp/canary", "..", "a/..", "..\\out", "C:\\out", "C:out", "\\\\host\\x",
    "a\nb", "a\0b", "\x1b[31m", "a" * 300, "a/" * 600 + "b", "./../x", "a//../../x", "~/../../x", "\\", "a\x7f",
]  # fmt: skip


def zip_of(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members:
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name
            info.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(info, content)
    return path


def tar_of(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as packed:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return path


def special_tar(path: Path, kind: bytes, target: str) -> Path:
    with tarfile.open(path, "w") as packed:
        info = tarfile.TarInfo("inside")
        info.type, info.linkname = kind, target
        packed.addfile(info)
    return path


def refused(archive: Path, folder: Path, limits: ArchiveLimits = USUAL) -> str:
    """The message; nothing is left, and nothing is written beside the folder."""
    before = set(archive.parent.rglob("*"))
    with pytest.raises(ArchiveError) as error:
        unpack(archive, folder, limits)
    assert set(archive.parent.rglob("*")) == before and not Path("/tmp/canary").exists()
    return str(error.value)


@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_files_are_unpacked(tmp_path: Path, pack: Callable[..., Path]) -> None:
    archive = pack(tmp_path / "a.zip", ("images/猫.png", b"cat"), ("b.png", b""), ("./c/d.png", b"x"))
    assert unpack(archive, tmp_path / "out") == 3
    found = {str(path.relative_to(tmp_path / "out")): path.read_bytes() for path in (tmp_path / "out").rglob("*.png")}
    assert found == {"images/猫.png": b"cat", "b.png": b"", "c/d.png": b"x"}


def unflagged(path: Path, *names: bytes) -> Path:
    """A zip file with names of these bytes, without the flag that says that they are UTF-8."""
    places = [f"{n:03}".ljust(len(name), "x") for n, name in enumerate(names)]
    with zipfile.ZipFile(path, "w") as packed:
        for place in places:
            packed.writestr(place, place.encode()[:3])
    content = path.read_bytes()
    for place, name in zip(places, names, strict=True):
        content = content.replace(place.encode(), name)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("utf-8", ["阀门1.jpg", "仪表盘（右）.jpg", "plain.jpg"]),  # as macOS packs
        ("gb18030", ["阀门1.jpg", "仪表盘（右）.jpg", "朱镕基.jpg", "plain.jpg"]),  # as Windows in China packs
        ("cp437", ["éclair.jpg", "été.jpg", "Größe.jpg"]),  # as Windows in Europe does
        ("cp437", ["éclair.jpg"]),  # is text in GBK too
    ],
)
def test_names_of_a_zip_file_that_does_not_name_their_encoding(tmp_path: Path, encoding: str, names: list[str]) -> None:
    archive = unflagged(tmp_path / "a.zip", *(f"photos/{name}".encode(encoding) for name in names))
    assert unpack(archive, tmp_path / "out") == len(names)
    assert sorted(path.name for path in (tmp_path / "out" / "photos").iterdir()) == sorted(names)
    assert (tmp_path / "out" / "photos" / names[0]).read_bytes() == b"000"


@pytest.mark.parametrize(
    "name", [b"\xd5\xd5\xc6\xac/../../out", b"\xe7\x8c\xab/../../out", b"\xd5\xd5\\out", b"\xff\xfe/../x"]
)
def test_such_a_name_that_leads_out_is_refused(tmp_path: Path, name: bytes) -> None:
    assert "name" in refused(unflagged(tmp_path / "a.zip", b"good.png", name), tmp_path / "out")


@pytest.mark.parametrize("pack", [zip_of, tar_of])
@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_that_lead_out_are_refused(tmp_path: Path, pack: Callable[..., Path], name: str) -> None:
    if pack is tar_of and "\0" in name:
        pytest.skip("a tar name ends at its first zero byte")
    archive = pack(tmp_path / "a.zip", ("good.png", b"x"), (name, b"hostile"))
    assert "name" in refused(archive, tmp_path / "out")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("target", ["/etc/passwd", "../../out", "good.png", ""])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes, target: str) -> None:
    assert "files and folders only" in refused(special_tar(tmp_path / "a.tar", kind, target), tmp_path / "out")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        packed.writestr(info, "/etc/passwd")
    assert "a link" in refused(tmp_path / "a.zip", tmp_path / "out")


def test_bombs_are_refused(tmp_path: Path) -> None:
    """By ratio, by bytes and by count, whatever sizes the archive claims."""
    limits = ArchiveLimits(files=10, bytes=1 << 22, ratio=5, free=1000)
    zeros = zip_of(tmp_path / "a.zip", ("a", bytes(1 << 20)))
    assert "more bytes" in refused(zeros, tmp_path / "out", limits)
    assert "more than 10 files" in refused(
        tar_of(tmp_path / "b.tar", *((f"{n}", b"") for n in range(11))), tmp_path / "out", limits
    )
    noise = random.Random(0).randbytes(5 << 20)
    assert "more bytes" in refused(zip_of(tmp_path / "c.zip", ("a", noise)), tmp_path / "out", limits)
    assert unpack(zip_of(tmp_path / "d.zip", ("a", bytes(900))), tmp_path / "out", limits) == 1


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
@pytest.mark.parametrize("first", [True, False])
def test_headers_are_not_read_into_memory(tmp_path: Path, kind: bytes, first: bool) -> None:
    """tarfile reads a header at once; a few megabytes of gzip are gigabytes of zeros."""
    stream = io.BytesIO()
    info = tarfile.TarInfo("./@LongLink")
    info.type, info.size = kind, 2**33
    with tarfile.open(fileobj=stream, mode="w") as packed:
        if not first:
            packed.addfile(tarfile.TarInfo("a.png"))
        packed.fileobj.write(info.tobuf(tarfile.GNU_FORMAT))
        packed.fileobj.write(bytes(1 << 16))
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(stream.getvalue()))
    assert "a header of more than" in refused(tmp_path / "a.tar.gz", tmp_path / "out")


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", ("a.png", b"x"))
    assert "nearly full" in refused(archive, tmp_path / "out", ArchiveLimits(disk=2**60))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_every_compression_is_read(tmp_path: Path, mode: str) -> None:
    with tarfile.open(tmp_path / "a.tar", mode) as packed:
        for number in range(3):
            info = tarfile.TarInfo(f"{'deep/' * 30}{number}.png")
            info.size = 3 << 20
            packed.addfile(info, io.BytesIO(bytes([number]) * info.size))
    assert unpack(tmp_path / "a.tar", tmp_path / "out") == 3
    assert {path.stat().st_size for path in (tmp_path / "out").rglob("*.png")} == {3 << 20}


def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    assert "twice" in refused(tar_of(tmp_path / "a.tar", ("a", b"1"), ("a", b"2")), tmp_path / "out")
    assert "one name" in refused(tar_of(tmp_path / "b.tar", ("a", b"1"), ("a/b", b"2")), tmp_path / "out")


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    """Cut, with bytes changed, and other files: never another exception than ArchiveError."""
    chance = random.Random(1)
    for pack in (zip_of, tar_of):
        whole = pack(tmp_path / "whole", ("a.png", chance.randbytes(3000)), ("b.png", b"b" * 3000)).read_bytes()
        for number in range(60):
            content = bytearray(whole[: chance.randrange(len(whole))] if number % 2 else whole)
            for _ in range(number % 7 if content else 0):
                content[chance.randrange(len(content))] = chance.randrange(256)
            archive = tmp_path / "damaged"
            archive.write_bytes(bytes(content))
            out = tmp_path / f"out-{pack.__name__}-{number}"
            try:
                unpack(archive, out)
            except ArchiveError:
                assert not out.exists()
            assert not [path for path in tmp_path.iterdir() if path.name.startswith(".out")]
    (tmp_path / "text").write_text("no archive")
    assert "neither a zip nor a tar" in refused(tmp_path / "text", tmp_path / "out")
    os.truncate(tmp_path / "text", 0)
    assert "neither a zip nor a tar" in refused(tmp_path / "text", tmp_path / "out")
