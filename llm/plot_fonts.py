"""Texts in plots: fonts of this machine that have their characters, and what is left out where no font has them.

Matplotlib's own font has no Chinese characters, among others, and draws an empty box for what it lacks.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from llm.console import localized

OWN = "DejaVu Sans"
# Looked at first: they are made for texts, and hold most of the characters that names and answers are written in.
PREFERRED = (
    *("notosanscjk", "notosanssc", "sourcehansans", "wqy-microhei", "wqy-zenhei", "msyh", "simhei", "pingfang"),
    *("hiraginosansgb", "arialunicode", "droidsansfallback", "unifont", "notosans"),
)
MOST_FONTS = 400  # fonts that are looked at, a few milliseconds each
LONGEST = 80  # characters of a text


@dataclass(frozen=True, slots=True)
class PlotFonts:
    """Font families for matplotlib's `font.family`, and the characters that none of them has."""

    families: tuple[str, ...]
    missing: frozenset[str]

    def drawn(self, text: str, instead: str = "") -> str:
        """The text on one line, to be drawn with `parse_math=False`; `instead` where no font has its characters."""
        line = _one_line(text)
        return instead if self.missing.intersection(line) else line

    def label(self, text: str) -> str:
        """A text of ours in the user's language; in English where no font has its characters."""
        return self.drawn(localized(text), text)


def fonts_for(texts: Iterable[str], labels: Iterable[str] = ()) -> PlotFonts:
    """The fonts of this machine that draw these texts, and `labels`, texts of ours, in the user's language."""
    shown = [*texts, *map(localized, labels)]
    missing = frozenset(character for text in shown for character in _one_line(text)) - _characters(_own_file())
    families = [OWN]
    for file in _font_files() if missing else ():
        if found := missing & _characters(file):
            families.append(_family(file))
            missing -= found
        if not missing:
            break
    return PlotFonts(tuple(families), missing)


def _one_line(text: str) -> str:
    line = "".join(character if character.isprintable() else " " for character in " ".join(text.split()))
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _font_files() -> Iterator[str]:
    """The machine's font files, those of PREFERRED first, in its order. Matplotlib's own list is an older cache."""
    from matplotlib.font_manager import findSystemFonts

    def rank(file: str) -> tuple[int, str]:
        stem = Path(file).stem.lower()
        return next((place for place, name in enumerate(PREFERRED) if stem.startswith(name)), len(PREFERRED)), file

    yield from sorted(findSystemFonts(), key=rank)[:MOST_FONTS]


def _own_file() -> str:
    from matplotlib.font_manager import findfont

    return str(findfont(OWN))


@cache
def _characters(file: str) -> frozenset[str]:
    """The characters of a font; none for a file that cannot be read, and for bitmaps, which have one size only."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(file)
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()


def _family(file: str) -> str:
    """The name under which matplotlib finds the file, which it learns of here if it does not know it yet."""
    from matplotlib.font_manager import fontManager

    known = [font.name for font in fontManager.ttflist if font.fname == file]
    if not known:
        fontManager.addfont(file)
        known = [fontManager.ttflist[-1].name]
    return known[0]
