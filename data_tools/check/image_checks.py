"""What is wrong or odd with one picture, from its header first and then from its pixels."""

import os
from dataclasses import dataclass
from pathlib import Path

from data_tools.check.findings import CODES
from data_tools.check.seen_hashes import hash64
from llm.errors import ImageError
from llm.files.regular_files import PICTURE, read_regular
from llm.formats.conversation import ImageRef
from vlm.vision.images import ImageLimits, examine

USUAL = ("RGB", "L", "P", "RGBA", "LA", "1")


@dataclass(frozen=True, slots=True)
class ImageProblem:
    """One thing about a picture: its code, what was found and what to do."""

    code: str
    found: str
    advice: str


@dataclass(frozen=True, slots=True)
class ImageFindings:
    """What was seen of one picture; `digest` is of its bytes, 0 where it was not asked for or could not be read."""

    faults: tuple[ImageProblem, ...] = ()
    digest: int = 0

    @property
    def sound(self) -> bool:
        """True when the picture can be trained on."""
        return all(CODES[fault.code].level == "warning" for fault in self.faults)


def look(ref: ImageRef, root: str, limits: ImageLimits, decode: bool, digest: bool) -> ImageFindings:
    """Judge one picture of a record whose image folder is `root`. Nothing is raised."""
    try:
        traits = examine(ref, limits, decode)
    except ImageError as error:
        return ImageFindings((ImageProblem(error.code, _named(ref, error.found), error.advice),))
    faults = []
    if ref.path and not _inside(ref.path, root):
        advice = "Copy the picture into the folder: elsewhere the link leads nowhere"
        faults.append(ImageProblem("image-link", _named(ref, "a link that leads out of the image folder"), advice))
    if traits.mode not in USUAL:
        advice = "Compare how it looks; save it as RGB to be sure"
        faults.append(ImageProblem("image-mode", _named(ref, f"colour mode {traits.mode}, read as RGB"), advice))
    if traits.animated:
        advice = "Save the frame that is meant"
        faults.append(ImageProblem("image-animated", _named(ref, "an animation; its first frame is read"), advice))
    if traits.turned:
        advice = "Boxes must be written for the upright picture; save it upright to be sure"
        faults.append(ImageProblem("image-exif", _named(ref, "turned upright by its EXIF orientation"), advice))
    return ImageFindings(tuple(faults), _digest(ref) if digest else 0)


def _named(ref: ImageRef, found: str) -> str:
    return f"{ref.path}: {found}" if ref.path else found


def _inside(path: str, root: str) -> bool:
    """True when the file a path leads to lies under the folder that `root` leads to."""
    return os.path.realpath(path).startswith(os.path.realpath(root).rstrip(os.sep) + os.sep)


def _digest(ref: ImageRef) -> int:
    try:
        return hash64(ref.data or read_regular(Path(ref.path), PICTURE))
    except OSError:
        return 0  # it was there a moment ago; the next run will say so
