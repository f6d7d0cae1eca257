"""The answers to probes that a run wrote into samples/, with their images."""

import json
import re
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from llm.files.regular_files import IMAGE as LARGEST
from llm.files.regular_files import SETTINGS, check_regular, read_text
from llm.track.tracker import Answer, Answers

FILE = re.compile(r"step-(\d{6,})\.json")
SIDE = 512  # pixels of the longer side of an image that a tracker gets


def answered_steps(run: Path, after: int, until: int) -> list[int]:
    """Steps with answers, those in (after, until], in order."""
    names = (FILE.fullmatch(path.name) for path in (run / "samples").glob("step-*.json"))
    return sorted(step for name in names if name and after < (step := int(name[1])) <= until)


def read_answers(run: Path, step: int) -> Answers:
    """The answers after a step; none where the file is gone or damaged."""
    path = run / "samples" / f"step-{step:06d}.json"
    try:
        rows = json.loads(read_text(path, SETTINGS))
        time = path.stat().st_mtime
        return Answers(step, time, [Answer(row["prompt"], row["answer"], _image(row.get("image"))) for row in rows])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Answers(step, 0.0, [])


def _image(name: str | None) -> Image.Image | None:
    """The image, small; None where there is none or it cannot be read any more."""
    if not name:
        return None
    try:
        check_regular(Path(name), LARGEST)
        with Image.open(name) as opened:
            opened.draft("RGB", (SIDE, SIDE))
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    image.thumbnail((SIDE, SIDE))
    return image
