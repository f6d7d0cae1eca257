"""Whose work the world is made of: one line each when it is made, and LICENSES.md beside the files."""

from dataclasses import dataclass
from pathlib import Path

from data_tools.emoji.drawings import Style

FILE = "LICENSES.md"


@dataclass(frozen=True, slots=True)
class Licence:
    """Work of others: what it is, whose, under which terms, from where, and which files of ours contain it."""

    work: str
    author: str
    terms: str
    package: str
    source: str
    used: str
    text: str  # the package's own file with the terms; empty where it has none
    style: Style | None = None

    @property
    def line(self) -> str:
        """In one line."""
        return f"{self.work}, {self.author}: {self.terms}"


LICENCES = (
    Licence(
        "Noto Emoji",
        "Google",
        "Apache-2.0 (images), OFL-1.1 (font)",
        "emoji-datasource-google",
        "https://github.com/googlefonts/noto-emoji",
        "`*-google-*.png`",
        "",
        "google",
    ),
    Licence(
        "Twemoji",
        "Twitter and other contributors",
        "CC-BY-4.0",
        "emoji-datasource-twitter",
        "https://github.com/jdecked/twemoji",
        "`*-twitter-*.png`",
        "",
        "twitter",
    ),
    Licence(
        "Fluent Emoji",
        "Microsoft Corporation",
        "MIT",
        "@iconify-json/fluent-emoji-flat",
        "https://github.com/microsoft/fluentui-emoji",
        "`*-fluent-*.png`",
        "",
        "fluent",
    ),
    Licence(
        "OpenMoji",
        "HfG Schwäbisch Gmünd and other contributors",
        "CC-BY-SA-4.0",
        "openmoji",
        "https://openmoji.org",
        "`*-openmoji-*.png`",
        "openmoji/LICENSE.txt",
        "openmoji",
    ),
    Licence(
        "emoji-data",
        "Cal Henderson",
        "MIT",
        "emoji-datasource-google",
        "https://github.com/iamcal/emoji-data",
        "`concepts.json`: `group`, `subgroup`",
        "emoji-datasource-google/LICENSE",
    ),
    Licence(
        "CLDR annotations",
        "Unicode, Inc.",
        "Unicode-3.0",
        "cldr-annotations-full",
        "https://cldr.unicode.org",
        "`concepts.json`: `names`, `keywords`",
        "cldr-annotations-full/LICENSE",
    ),
)


def write_licences(unpacked: Path, target: Path) -> None:
    """Write LICENSES.md: a table, what changed, and the terms that the packages bring."""
    rows = [
        f"| {one.work} | {one.author} | {one.terms} | `{one.package}` | {one.source} | {one.used} |" for one in LICENCES
    ]
    texts = []
    for one in LICENCES:
        file = unpacked / one.text
        if one.text and file.is_file():
            texts.append(f"## {one.work}\n\n```text\n{file.read_text(encoding='utf-8').strip()}\n```")
    table = "| work | author | licence | npm package | source | used in |\n|---|---|---|---|---|---|\n" + "\n".join(
        rows
    )
    (target / FILE).write_text("\n\n".join((_ABOUT, table, _CHANGES, *texts)) + "\n", encoding="utf-8")


_ABOUT = """# Licences 许可证

The images and texts of this folder are made from the works below. Each drawing keeps its author's licence; an image has
drawings of one author, whose short name is in its file name. The recipe that makes them is Eyegraft's (Apache-2.0).

本文件夹中的图片和文字由下列作品制成。每幅图保留其作者的许可证；一张图片只含一位作者的图，文件名中有其简称。
生成它们的程序属于 Eyegraft（Apache-2.0）。"""
_CHANGES = """Changes: drawings were cropped, scaled and laid on backgrounds. Whoever passes images on names the author
and the licence (Twemoji, OpenMoji), and passes images with OpenMoji's drawings on under CC-BY-SA-4.0. Of the data, only
the tests of the held-out style, `style/`, contain OpenMoji's drawings; `samples.png` contains drawings of all four.

改动：图经过裁剪、缩放，并放到背景上。再分发图片时须注明作者和许可证（Twemoji、OpenMoji）；含有 OpenMoji 图的图片须以
CC-BY-SA-4.0 再分发。数据中只有留出画风的测试 `style/` 含有 OpenMoji 的图；`samples.png` 含有全部四种画风的图。"""
