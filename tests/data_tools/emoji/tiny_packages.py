"""Packages of a tiny world in the layout of the published ones: our own drawings of forty shapes by four hands."""

import json
from pathlib import Path

from PIL import Image, ImageDraw

from data_tools.emoji.npm_packages import NpmPackage

COLOURS = {
    "red": (255, 0, 0), "orange": (255, 165, 0), "gold": (255, 215, 0), "green": (0, 128, 0), "blue": (0, 0, 255),
    "purple": (128, 0, 128), "brown": (165, 42, 42), "teal": (0, 128, 128), "lime": (0, 255, 0), "navy": (0, 0, 128),
}  # fmt: skip
FORMS = {"circle": "geometric", "square": "geometric", "diamond": "heart", "bar": "heart"}  # and their subgroups
CORNERS = {"square": "4,6 28,6 28,26 4,26", "diamond": "16,3 29,16 16,29 3,16", "bar": "3,9 29,9 29,23 3,23"}
# code points, group, subgroup, English name, Chinese name, keywords
SHAPES = tuple(
    (f"{0x1F500 + 16 * row + column:X}" + "-FE0F" * (form == "square"), "Symbols", subgroup, f"{colour} {form}",
     f"图{row}之{column}号", [colour, form, "shape"])
    for row, (form, subgroup) in enumerate(FORMS.items())
    for column, colour in enumerate(COLOURS)
)  # fmt: skip
UNDRAWN = "1F999"  # by fluent
FLAG, REPLACED, TONE = "1F1E6-1F1E8", "1F46F", "1F3FB"


def write_packages(folder: Path) -> None:
    """Write the unpacked packages into `folder`."""
    google = folder / "emoji-datasource-google"
    extra: list[tuple[str, str, str, str, str, list[str]]] = [
        (UNDRAWN, "Symbols", "heart", "llama", "羊驼", []),
        (FLAG, "Flags", "country-flag", "flag", "旗", []),
        (REPLACED, "Symbols", "heart", "old", "旧", []),
        (TONE, "Component", "skin-tone", "tone", "肤色", []),
    ]
    rows = [*SHAPES, *extra]
    table = [
        {"unified": code, "category": group, "subcategory": subgroup, "sort_order": at}
        | ({"obsoleted_by": "1F600"} if code == REPLACED else {})
        for at, (code, group, subgroup, *_) in enumerate(rows)
    ]
    _write_json(google / "emoji.json", table)
    (google / "LICENSE").write_text("terms of the table", encoding="utf-8")
    for language, at in (("en", 3), ("zh", 4)):
        notes = {_symbol(row[0]): {"tts": [row[at]], "default": [row[at], *row[5]]} for row in rows}
        path = folder / "cldr-annotations-full" / "annotations" / language / "annotations.json"
        _write_json(path, {"annotations": {"annotations": notes}})
    for row in rows:
        _draw(folder, str(row[0]))


def _symbol(code: str) -> str:
    return "".join(chr(int(point, 16)) for point in code.removesuffix("-FE0F").split("-"))


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def _draw(folder: Path, code: str) -> None:
    """Google: filled; Twitter: with a ring; OpenMoji: an SVG with an outline; Fluent: an SVG without."""
    colour, form = next((str(row[3]).split() for row in SHAPES if row[0] == code), ("red", "circle"))
    for maker, scale in (("google", 2.0), ("twitter", 1.7)):
        image = Image.new("RGBA", (64, 64))
        pen, edge = ImageDraw.Draw(image), "black" if maker == "twitter" else None
        if form == "circle":
            pen.ellipse([3 * scale, 3 * scale, 29 * scale, 29 * scale], fill=colour, outline=edge)
        else:
            points = [float(number) * scale for number in CORNERS[form].replace(",", " ").split()]
            pen.polygon(points, fill=colour, outline=edge)
        path = folder / f"emoji-datasource-{maker}" / "img" / maker / "64" / f"{code.lower()}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    shape = '<circle cx="16" cy="16" r="13" {}/>' if form == "circle" else f'<polygon points="{CORNERS[form]}" {{}}/>'
    body = shape.format(f'fill="{colour}"')
    outlined = shape.format(f'fill="{colour}" stroke="black" stroke-width="2"')
    svg = folder / "openmoji" / "color" / "svg" / f"{code.removesuffix('-FE0F')}.svg"
    svg.parent.mkdir(parents=True, exist_ok=True)
    svg.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{outlined}</svg>', encoding="utf-8")
    _add_icon(folder / "fluent-emoji-flat", code, body)


def _add_icon(folder: Path, code: str, body: str) -> None:
    icons, names = folder / "icons.json", folder / "chars.json"
    known = json.loads(icons.read_text(encoding="utf-8"))["icons"] if icons.exists() else {}
    codes = json.loads(names.read_text(encoding="utf-8")) if names.exists() else {}
    if code != UNDRAWN:
        known[f"icon-{code}"] = {"body": body}
        codes[code.lower()] = f"icon-{code}"
    _write_json(icons, {"width": 32, "height": 32, "icons": known})
    _write_json(names, codes)


def tiny_package(requirement: str, file: str, sha256: str) -> NpmPackage:
    """A package of which the files below `kept/` and LICENSE are unpacked."""
    return NpmPackage(requirement, file, sha256, ("kept/", "LICENSE"))
