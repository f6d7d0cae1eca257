"""The images and videos of a converted file: referenced where they are, copied beside it, or embedded in it."""

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
from llm.files.regular_files import IMAGE, check_regular, read_regular
from llm.formats.conversation import ImageRef, VideoRef
from llm.formats.image_paths import missing_advice
from vlm.vision.videos import media_type

ImageMode = Literal["name", "copy", "bytes", "url"]
"""Reference the file, copy it beside the output, or embed it as bytes or as a data URL."""

_FORMATS = (
    (b"\x89PNG", "png"),
    (b"\xff\xd8", "jpeg"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
)


@dataclass(slots=True)
class ImageWriter:
    """Makes the image entries of the records of `out`. `root` is the absolute folder of the source's images.

    With `required` an image that is only named must exist, as one that is copied or embedded has to anyway; otherwise
    those that do not are counted.
    """

    out: Path
    root: str
    mode: ImageMode
    required: bool = False
    missing: int = 0
    first_missing: str = ""
    named: int = 0
    copied: int = 0

    def reference(self, image: ImageRef | VideoRef) -> object:
        """The entry of an image or a video in its record. ImageError when a file to copy or embed cannot be read."""
        if self.mode == "bytes":
            return {"bytes": _bytes(image), "path": os.path.basename(image.path) or None}
        if self.mode == "url":
            return _data_url(image)
        if self.mode == "copy" or not image.path:
            return self._copy(image)
        self.named += 1
        self._check_folder()
        if not os.path.isfile(image.path):
            self._miss(image.path)
        return os.path.relpath(image.path, self.folder)

    @property
    def folder(self) -> str:
        """What written paths are relative to: the folder of `out` if it contains `root`, otherwise `root`."""
        beside = os.path.abspath(self.out.parent)
        return beside if _lies_in(self.root, beside) or self.mode == "copy" else self.root

    @property
    def advice(self) -> str:
        """How to find the images if the file's own folder is not enough; otherwise empty."""
        if not self.named or self.folder == os.path.abspath(self.out.parent):
            return ""
        found = f"its image paths start in another folder; in a recipe write images: {self.folder}"
        return f"{found}, or convert with --copy-images"

    @property
    def missing_line(self) -> str:
        """What to do about images that are named and not there; empty if all are."""
        if not self.missing:
            return ""
        many = "1 image is" if self.missing == 1 else f"{self.missing:,} images are"
        return f"{many} not there, such as {self.first_missing}. Give their folder with --images"

    def _miss(self, path: str) -> None:
        if self.required:
            raise ImageError(f"{path}: no such file. {missing_advice(path)}")
        self.missing += 1
        self.first_missing = self.first_missing or path

    def _copy(self, image: ImageRef | VideoRef) -> str:
        name = os.path.relpath(image.path, self.root) if image.path else _name_by_content(image)
        path = self.out.parent / f"{self.out.stem}_images" / name
        self.copied += 1
        self._check_folder()
        if image.path:
            _copy_file(image.path, path)
        elif not path.is_file():  # named after a hash of its content
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as partial:
                partial.write_bytes(image.data)
        return os.path.relpath(path, self.out.parent)

    def _check_folder(self) -> None:
        if self.copied and self.advice:
            found = "some images are files in another folder, others are bytes that are written beside it"
            raise ConfigError(f"{self.out}: {found}. Add --copy-images")


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _copy_file(source: str, path: Path) -> None:
    """Copy a file, unless `path` already has the same content."""
    try:
        check_regular(Path(source), IMAGE)
        if path.is_file() and filecmp.cmp(source, path):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as partial:
            shutil.copy2(source, partial)
    except OSError as error:
        raise ImageError(f"{source}: {error.strerror}. Check the record's image name and --images") from error


def _bytes(image: ImageRef | VideoRef) -> bytes:
    if not image.path:
        return image.data
    try:
        return read_regular(Path(image.path), IMAGE)
    except OSError as error:
        raise ImageError(f"{image.path}: {error.strerror}. Check the record's image name and --images") from error


def _data_url(image: ImageRef | VideoRef) -> str:
    data = _bytes(image)
    if isinstance(image, VideoRef):
        return f"data:{media_type(data, image)};base64,{base64.b64encode(data).decode('ascii')}"
    format = _format(data)
    if not format:
        where = image.path or f"an image of {len(data):,} bytes"
        raise ImageError(f"{where}: not a known image format. Replace it or remove the record")
    return f"data:image/{format};base64,{base64.b64encode(data).decode('ascii')}"


def _format(data: bytes) -> str:
    """The image format by its first bytes, as in a media type; empty if unknown."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((format for mark, format in _FORMATS if data.startswith(mark)), "")


def _name_by_content(image: ImageRef | VideoRef) -> str:
    data = image.data
    if isinstance(image, VideoRef):
        format = media_type(data, image).rpartition("/")[2].removeprefix("x-")
    else:
        format = _format(data).replace("jpeg", "jpg")
    return hashlib.sha256(data).hexdigest()[:24] + (f".{format}" if format else "")
