"""A contact sheet: some concepts, each in the drawings of all hands."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from data_tools.emoji.concepts import Concept
from data_tools.emoji.drawings import STYLES, Drawings

COLUMNS = 16
CELL = 40  # pixels
MARGIN = 3


def write_samples(concepts: Sequence[Concept], drawings: Drawings, path: Path) -> None:
    """One row a hand, with concepts taken at equal distances from the list. PNG with a palette, to be small."""
    shown = concepts[:: max(1, len(concepts) // COLUMNS)][:COLUMNS]
    sheet = Image.new("RGB", (CELL * len(shown), CELL * len(STYLES)), "white")
    for row, style in enumerate(STYLES):
        for column, concept in enumerate(shown):
            drawing = drawings.glyph(style, concept.code)
            drawing = drawing.copy()
            drawing.thumbnail((CELL - 2 * MARGIN, CELL - 2 * MARGIN), Image.Resampling.LANCZOS)
            left = column * CELL + (CELL - drawing.width) // 2
            sheet.paste(drawing, (left, row * CELL + (CELL - drawing.height) // 2), drawing)
    sheet.quantize(64, dither=Image.Dither.NONE).save(path, "PNG", optimize=True)
