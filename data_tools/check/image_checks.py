"""What is wrong or unusual with one image, from its header and from its pixels."""

import os
from dataclasses import dataclass
from pathlib import Path

from data_tools.check.findings import CODES
from data_tools.check.seen_hashes import hash64
from llm.errors import ImageError
from llm.files.regular_files import IMAGE, read_regular
from llm.formats.conversation import ImageRef, VideoRef
from vlm.vision.images import ImageLimits, inspect_image

USUAL_MODES = ("RGB", "L", "P", "RGBA", "LA", "1")
MORE = {
    "frames": "an animation; its first frame is read",
    "cut frames": "an animation that is cut off; its first frame is read",
    "pages": "several pages; the first is read",
}


@dataclass(frozen=True, slots=True)
class ImageProblem:
    """One problem of an image: a code of `CODES`, what was found, and what to do."""

    code: str
    found: str
    advice: str


@dataclass(frozen=True, slots=True)
class ImageFindings:
    """The problems of one image; `digest` hashes its bytes, 0 if that was not requested or not possible."""

    problems: tuple[ImageProblem, ...] = ()
    digest: int = 0

    @property
    def sound(self) -> bool:
        """True when the image can be trained on."""
        return all(CODES[problem.code].level == "warning" for problem in self.problems)


def check_image(ref: ImageRef, root: str, limits: ImageLimits, decode: bool, digest: bool) -> ImageFindings:
    """Check one image of a record whose image folder is `root`; `decode` reads the pixels too. Raises nothing."""
    try:
        traits = inspect_image(ref, limits, decode)
    except ImageError as error:
        return ImageFindings((ImageProblem(error.code, _with_path(ref, error.found), error.advice),))
    problems = []
    if ref.path and not is_inside(ref.path, root):
        advice = "Copy the image into the folder: on another machine the link leads nowhere"
        problems.append(ImageProblem("image-link", _with_path(ref, "a link out of the image folder"), advice))
    if traits.mode not in USUAL_MODES:
        advice = "Save it as RGB if its colours look wrong"
        problems.append(ImageProblem("image-mode", _with_path(ref, f"colour mode {traits.mode}, read as RGB"), advice))
    if traits.more:
        code = "image-pages" if traits.more == "pages" else "image-animated"
        problems.append(ImageProblem(code, _with_path(ref, MORE[traits.more]), "Save the one that is meant"))
    if traits.rotated:
        advice = "Write boxes for the upright image, or save it upright"
        found = _with_path(ref, "rotated upright by its EXIF orientation")
        problems.append(ImageProblem("image-exif", found, advice))
    return ImageFindings(tuple(problems), digest_of(ref) if digest else 0)


def _with_path(ref: ImageRef, found: str) -> str:
    return f"{ref.path}: {found}" if ref.path else found


def is_inside(path: str, root: str) -> bool:
    """Whether `path` lies in the folder `root` once all links are resolved."""
    return os.path.realpath(path).startswith(os.path.realpath(root).rstrip(os.sep) + os.sep)


def digest_of(ref: ImageRef | VideoRef) -> int:
    """A hash of the bytes of an image or a video; 0 for a file that cannot be read."""
    try:
        return hash64(ref.data or read_regular(Path(ref.path), IMAGE))
    except OSError:
        return 0  # deleted since it was examined; the next check reports that
