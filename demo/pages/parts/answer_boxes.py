"""The boxes of an answer, drawn on the image that it is about, with their names and places as text."""

import base64
from io import BytesIO

from PIL import Image

from demo.pages.parts.escaping import escaped
from llm.errors import ImageError
from llm.formats.conversation import ImageRef
from vlm.scores.box_reading import NamedBox
from vlm.scores.model_boxes import ModelBoxes
from vlm.vision.images import read_image

UNKNOWN = ModelBoxes()
SIDE = 960  # pixels of the longer side as it is shown
COLOURS = ("#e11d48", "#2563eb", "#15803d", "#b45309", "#7c3aed", "#0e7490")  # each 4.5:1 on white, for the numbers
CSS = """
.eg-boxes { margin: 0; padding: 12px 16px; border: 1px solid var(--border-color-primary); border-radius: 8px; }
.eg-boxes .drawn { position: relative; display: inline-block; max-width: 100%; }
.eg-boxes :is(img, svg) { display: block; max-width: 100%; max-height: 420px; }
.eg-boxes svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.eg-boxes figcaption { margin: 0 0 8px; font-weight: 600; }
.eg-boxes ol { margin: 8px 0 0; padding-inline-start: 1.6em; list-style: decimal; font-size: 0.92em; }
"""


def boxes_html(
    caption: str, answer: str, image: ImageRef | None, line: str, unnamed: str, model: ModelBoxes = UNKNOWN
) -> str:
    """A figure of the image with the boxes of `answer`; empty where there is no box or no readable image.

    `line` is what is said of a box: its name and four edges; `unnamed` names one by its number; `model` is how the
    model that answered writes boxes.
    """
    if image is None or not any(mark in answer for mark in ("[", "(", "{<", "<loc")):
        return ""
    try:
        pixels = read_image(image)
    except ImageError:
        return ""
    boxes = model.read(answer, pixels.size)
    if not boxes:
        return ""
    names = [one.label or unnamed.format(number) for number, one in enumerate(boxes, 1)]
    lines = [line.format(name, *map(round, one.box)) for name, one in zip(names, boxes, strict=True)]
    listed = "".join(f"<li>{escaped(text)}</li>" for text in lines)
    alt = escaped(f"{caption}: {', '.join(names)}")
    drawn = f'<img alt="{alt}" src="{_url(pixels)}">{_overlay(boxes, pixels.size)}'
    head = f"<figcaption>{escaped(caption)}</figcaption>"
    return f'<figure class="eg-boxes">{head}<div class="drawn">{drawn}</div><ol>{listed}</ol></figure>'


def _overlay(boxes: list[NamedBox], size: tuple[int, int]) -> str:
    """The boxes and their numbers; lines are as wide on a large image as on a small one."""
    width, height = size
    unit = max(size) / 100
    shapes = [
        _shape(number, one.box, unit, COLOURS[(number - 1) % len(COLOURS)]) for number, one in enumerate(boxes, 1)
    ]
    return f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{"".join(shapes)}</svg>'


def _shape(number: int, box: tuple[float, float, float, float], unit: float, colour: str) -> str:
    left, top, right, bottom = box
    rectangle = f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}"'
    frame = f'{rectangle} fill="none" stroke="{colour}" stroke-width="{0.7 * unit:.2f}"/>'
    wide = (1.6 + 1.9 * len(str(number))) * unit
    plate = f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{4 * unit:.1f}" fill="{colour}"/>'
    place = f'x="{left + wide / 2:.1f}" y="{top + 3.1 * unit:.1f}" font-size="{3.2 * unit:.1f}"'
    return f'{frame}{plate}<text {place} text-anchor="middle" fill="#fff">{number}</text>'


def _url(pixels: Image.Image) -> str:
    shown = pixels.copy()
    shown.thumbnail((SIDE, SIDE))
    file = BytesIO()
    shown.save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
