"""Images of examples, copied as new JPEGs to where the page serves files from."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from demo.server.uploads import upload_folder
from llm.files.atomic_files import atomic_file
from llm.formats.conversation import ImageRef
from vlm.vision.images import read_image

SIDE = 1024  # pixels of the longer side


def copied_images(images: Sequence[ImageRef], group: str) -> list[Path]:
    """Copies in the upload folder, which `group` names the part of; a copy that is still there is used again.

    A copy is made of decoded pixels, so that it is an image whatever the file was. Raises ImageError for what is none,
    OSError for what cannot be read or written.
    """
    return [_copied(image, group) for image in images]


def _copied(image: ImageRef, group: str) -> Path:
    content = image.data or f"{image.path}\0{Path(image.path).stat().st_mtime_ns}".encode()
    folder = upload_folder() / "examples" / hashlib.sha256(group.encode()).hexdigest()[:16]
    copy = folder / f"{hashlib.sha256(content).hexdigest()[:16]}.jpg"
    try:
        os.utime(copy)  # old files are deleted
        return copy
    except FileNotFoundError:
        pass
    pixels = read_image(image)
    pixels.thumbnail((SIDE, SIDE))
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(copy, sync=False) as partial:
        pixels.save(partial, "JPEG", quality=90)
    return copy
