"""The drawings of four hands: PNG files and SVG, as RGBA images cropped to what is drawn."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image

from llm.errors import AssetError

Style = Literal["google", "twitter", "fluent", "openmoji"]
STYLES: tuple[Style, ...] = ("google", "twitter", "fluent", "openmoji")
HELD_OUT_STYLE: Style = "openmoji"
SEEN_STYLES: tuple[Style, ...] = tuple(style for style in STYLES if style != HELD_OUT_STYLE)
SVG_PIXELS = 96  # per side; drawings are scaled down from it
OPAQUE = 16  # alpha from which a pixel counts as drawn: shadows and soft edges do not widen boxes


@dataclass
class Drawings:
    """All drawings in a folder of unpacked packages. Rendered ones are kept, since scenes use each many times."""

    unpacked: Path
    _icons: Mapping[str, str] = field(init=False)
    _rendered: dict[tuple[Style, str], Image.Image] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._icons = _fluent_icons(self.unpacked / "fluent-emoji-flat")

    def has_all(self, code: str) -> bool:
        """Whether every hand draws the concept."""
        return all(self._source(style, code) is not None for style in STYLES)

    def glyph(self, style: Style, code: str) -> Image.Image:
        """The drawing, RGBA, cropped. Raises AssetError when it cannot be rendered."""
        key = (style, code)
        if key not in self._rendered:
            source = self._source(style, code)
            assert source is not None, key
            try:
                self._rendered[key] = _cropped(source())
            except (OSError, ValueError) as error:
                raise AssetError(
                    f"{style} {code}: cannot be drawn ({error}). Delete downloads/ and run again"
                ) from error
        return self._rendered[key]

    def _source(self, style: Style, code: str) -> Callable[[], Image.Image] | None:
        if style == "fluent":
            icon = next((self._icons[form] for form in _forms(code) if form in self._icons), None)
            return None if icon is None else lambda: _render(icon)
        folder = {
            "google": self.unpacked / "emoji-datasource-google" / "img" / "google" / "64",
            "twitter": self.unpacked / "emoji-datasource-twitter" / "img" / "twitter" / "64",
            "openmoji": self.unpacked / "openmoji" / "color" / "svg",
        }[style]
        if style == "openmoji":
            files = [folder / f"{form.upper()}.svg" for form in _forms(code)]
            found = next((file for file in files if file.is_file()), None)
            return None if found is None else lambda: _render(found.read_text(encoding="utf-8"))
        file = folder / f"{code}.png"
        return (lambda: Image.open(file).convert("RGBA")) if file.is_file() else None


def _forms(code: str) -> tuple[str, str]:
    """A code as it is, and without the variation selector that some hands leave out of file names."""
    return code, code.replace("-fe0f", "")


def _fluent_icons(folder: Path) -> dict[str, str]:
    """SVG by code, from the package's icons and the table that names them."""
    try:
        icons = json.loads((folder / "icons.json").read_text(encoding="utf-8"))
        names = json.loads((folder / "chars.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AssetError(f"fluent-emoji-flat: not as published ({error}). Delete downloads/ and run again") from error
    frame = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}">{}</svg>'
    width, height, drawn = icons["width"], icons["height"], icons["icons"]
    return {code: frame.format(width, height, drawn[name]["body"]) for code, name in names.items() if name in drawn}


def _render(svg: str) -> Image.Image:
    try:
        import resvg_py
    except ImportError as error:
        raise AssetError("emoji: drawing SVG needs resvg-py: pip install 'eyegraft[emoji]'") from error
    # Without the machine's fonts: texts in a drawing must not differ from machine to machine.
    png = resvg_py.svg_to_bytes(svg_string=svg, width=SVG_PIXELS, height=SVG_PIXELS, skip_system_fonts=True)
    return Image.open(BytesIO(bytes(png))).convert("RGBA")


def _cropped(image: Image.Image) -> Image.Image:
    box = image.getchannel("A").point(lambda alpha: 255 * (alpha >= OPAQUE)).getbbox()
    if box is None:
        raise ValueError("nothing is drawn")
    return image.crop(box)
