"""Names and answers in plots, with fonts made here: drawn where a font has the characters, left out where none has."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib.tables._g_l_y_f import Glyph
from matplotlib import font_manager
from matplotlib.figure import Figure

from data_tools.inspect.stats import collect_statistics
from data_tools.inspect.stats_plots import plot
from data_tools.inspect.target import find_target
from llm.plot_fonts import fonts_for
from llm.train.report import plot_loss


def make_font(path: Path, family: str, characters: str) -> Path:
    """A font in which every one of `characters` is an empty square."""
    names = [".notdef", *(f"uni{ord(one):04X}" for one in characters)]
    font = FontBuilder(1000)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(one): f"uni{ord(one):04X}" for one in characters})
    font.setupGlyf({name: Glyph() for name in names})
    font.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": family, "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine with two fonts besides matplotlib's own, and a file that is none; they are in `fonts/`."""
    folder = tmp_path / "fonts"
    folder.mkdir()
    make_font(folder / "aaa.ttf", "First Latin", "abc")
    make_font(folder / "wqy-test.ttf", "Test Chinese", "小猫识图")
    (folder / "broken.ttf").write_bytes(b"not a font")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(path) for path in folder.iterdir()])
    yield folder
    font_manager.fontManager.ttflist[:] = [
        font for font in font_manager.fontManager.ttflist if not font.fname.startswith(str(folder))
    ]


@pytest.fixture
def titles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles and labels of the figures that are saved."""
    drawn: list[str] = []
    save = Figure.savefig

    def record(self: Figure, path: Path, *, dpi: int, format: str) -> None:
        save(self, path, dpi=dpi, format=format)
        drawn.append(self.axes[0].get_title())
        drawn.extend(label.get_text() for label in self.axes[0].get_yticklabels())

    monkeypatch.setattr(Figure, "savefig", record)
    return drawn


def test_a_font_with_the_characters_is_found(machine: Path) -> None:
    fonts = fonts_for(["小猫 v2", "plain"])
    assert (fonts.families, fonts.missing) == (("DejaVu Sans", "Test Chinese"), frozenset())
    assert fonts.drawn("小猫 v2") == "小猫 v2"
    assert fonts_for(["plain é"]).families == ("DejaVu Sans",), "no font is looked for where none is needed"


def test_what_no_font_has_is_left_out(machine: Path) -> None:
    fonts = fonts_for(["小猫", "犬\U0001f680"])
    assert fonts.missing == frozenset("犬\U0001f680")
    assert (fonts.drawn("小猫"), fonts.drawn("犬", "answer 2")) == ("小猫", "answer 2")


@pytest.mark.parametrize(("text", "line"), [("a\nb\tc", "a b c"), ("a\u202eb", "a b"), ("x" * 99, "x" * 79 + "…")])
def test_a_text_is_one_line(text: str, line: str) -> None:
    assert fonts_for([text]).drawn(text) == line


@pytest.mark.filterwarnings("error:Glyph")
@pytest.mark.parametrize(
    ("name", "title"),
    [("小猫", "小猫"), ("犬-run", ""), ("run $x_1$", "run $x_1$"), ("a$b^", "a$b^"), ("\u2066x", " x")],
)
def test_loss_png_has_the_runs_name_or_none(
    tmp_path: Path, machine: Path, titles: list[str], name: str, title: str
) -> None:
    run = tmp_path / name
    run.mkdir()
    line = {"kind": "train", "step": 1, "loss": 2.0, "lr": 0.1}
    (run / "metrics.jsonl").write_text(json.dumps(line) + "\n" + json.dumps(line | {"step": 2, "loss": 1.0}) + "\n")
    plot_loss(run)
    assert titles[0] == title
    assert (run / "loss.png").stat().st_size > 5000


@pytest.mark.filterwarnings("error:Glyph")
def test_plots_of_data_have_its_name_and_answers_or_numbers(tmp_path: Path, machine: Path, titles: list[str]) -> None:
    rows = [[{"from": "human", "value": "?"}, {"from": "gpt", "value": answer}] for answer in ("识图", "识图", "犬")]
    data = tmp_path / "小猫.json"
    data.write_text(json.dumps([{"id": str(number), "conversations": row} for number, row in enumerate(rows)]))
    plot(*collect_statistics(find_target(str(data))), tmp_path / "plots")
    assert {"小猫.json: length", "小猫.json: turns", "小猫.json: most common answers"} <= set(titles)
    assert {"识图", "answer 2"} <= set(titles)
