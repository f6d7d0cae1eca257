"""Where the pictures of a converted file are: named where they lie, copied beside it, or inside it."""

import base64
import filecmp
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llm.errors import ConfigError, ImageError
from llm.files.atomic_files import atomic_file
from llm.files.regular_files import PICTURE, check_regular, read_regular
from llm.formats.conversation import ImageRef

ImageMode = Literal["name", "copy", "bytes", "url"]

_KINDS = (
    (b"\x89PNG", "png"),
    (b"\xff\xd8", "jpeg"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
)


@dataclass(slots=True)
class ImageWriter:
    """Writes images into the rows of `out` one way. `root` is the absolute folder of the source's images."""

    out: Path
    root: str
    way: ImageMode
    named: int = 0
    copied: int = 0

    def show(self, image: ImageRef) -> object:
        """What a row says of an image. ImageError when a file to be copied or put inside cannot be read."""
        if self.way == "bytes":
            return {"bytes": _bytes(image), "path": os.path.basename(image.path) or None}
        if self.way == "url":
            return _data_url(image)
        if self.way == "copy" or not image.path:
            return self._copy(image)
        self.named += 1
        self._one_folder()
        return os.path.relpath(image.path, self.folder)

    @property
    def folder(self) -> str:
        """What the written paths are relative to: the folder of `out`, where the source's images lie under it."""
        beside = os.path.abspath(self.out.parent)
        return beside if _lies_in(self.root, beside) or self.way == "copy" else self.root

    @property
    def advice(self) -> str:
        """What to say where the file alone does not find its pictures; else empty."""
        if not self.named or self.folder == os.path.abspath(self.out.parent):
            return ""
        return f"the pictures are not beside it: read it with images: {self.folder}, or write it with --copy-images"

    def _copy(self, image: ImageRef) -> str:
        name = os.path.relpath(image.path, self.root) if image.path else _name_by_content(image.data)
        path = self.out.parent / f"{self.out.stem}_images" / name
        self.copied += 1
        self._one_folder()
        if image.path:
            _copy_file(image.path, path)
        elif not path.is_file():  # its name is its content's hash
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as partial:
                partial.write_bytes(image.data)
        return os.path.relpath(path, self.out.parent)

    def _one_folder(self) -> None:
        if self.copied and self.advice:
            found = "some pictures are files elsewhere, others are bytes that are written beside it"
            raise ConfigError(f"{self.out}: {found}. Add --copy-images")


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _copy_file(source: str, path: Path) -> None:
    """Copied once, however many records show it; a picture that is already there with this content stays."""
    try:
        check_regular(Path(source), PICTURE)
        if path.is_file() and filecmp.cmp(source, path):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as partial:
            shutil.copy2(source, partial)
    except OSError as error:
        raise ImageError(f"{source}: {error.strerror}. Check the record's image name and --images") from error


def _bytes(image: ImageRef) -> bytes:
    if not image.path:
        return image.data
    try:
        return read_regular(Path(image.path), PICTURE)
    except OSError as error:
        raise ImageError(f"{image.path}: {error.strerror}. Check the record's image name and --images") from error


def _data_url(image: ImageRef) -> str:
    data = _bytes(image)
    kind = _kind(data)
    if not kind:
        where = image.path or f"an image of {len(data):,} bytes"
        raise ImageError(f"{where}: not a picture of a known kind. Replace it or drop the record")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _kind(data: bytes) -> str:
    """The kind by the first bytes, as a media type names it; empty if unknown."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((kind for mark, kind in _KINDS if data.startswith(mark)), "")


def _name_by_content(data: bytes) -> str:
    kind = _kind(data).replace("jpeg", "jpg")
    return hashlib.sha256(data).hexdigest()[:24] + (f".{kind}" if kind else "")
