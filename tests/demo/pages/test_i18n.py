"""Texts of the pages: both languages, and lines made from values."""

import re

import pytest

from demo import probes
from demo.pages.i18n import HEADERS, LABELS, PROBE_CELLS, TEXTS, duration, probe_cells, state_text


@pytest.mark.parametrize("table", [LABELS, TEXTS, PROBE_CELLS])
def test_every_text_has_both_languages(table: dict[str, tuple[str, str]]) -> None:
    """English texts are ASCII; Chinese texts have Chinese characters and full-width punctuation."""
    for key, (english, chinese) in table.items():
        if key in SAME:
            assert english == chinese
            continue
        assert english.isascii() and any("\u4e00" <= char <= "\u9fff" for char in chinese), key
        assert english.count("{") == chinese.count("{"), key
        assert not re.search(r"[\u4e00-\u9fff][,:;()]|[,:;()][\u4e00-\u9fff]", chinese), f"{key}: half-width mark"
    assert all(len(english) == len(chinese) for english, chinese in HEADERS.values())
    assert {head for _, chinese in HEADERS.values() for head in chinese if head.isascii()} == set(), "not translated"


SAME = {"title", "top_p"}


def test_cells_of_the_probe_tables_are_translated_and_answers_are_not() -> None:
    result = probes.ProbeResult(probes.ProbeQuestion("image", "right", ("no",), "right"), "no", "general")
    assert probe_cells([result.cells()], "zh") == [["图片", "right", "原图", "no", "no", "是", "general", "否"]]
    assert probe_cells([["leading", "", "1 / 2", "2 / 2"]], "zh") == [["诱导", "", "1 / 2", "2 / 2"]]
    assert probe_cells([result.cells()], "en")[0][2] == "own"
    assert probe_cells([["identity", "", "not judged", "not asked"]], "zh") == [["身份", "", "未评判", "未提问"]]


def test_state_text() -> None:
    from demo.pages.parts.run_status import RunState

    running = RunState(60, 1000, False, 7.0, False, 3725.0)
    assert state_text(running, "en") == "**running** · step 60 / 1,000 · last update 7 s ago · about 1 h 2 min left"
    assert state_text(running, "zh") == "**运行中** · 第 60 / 1,000 步 · 7 秒前更新 · 预计还需 1 小时 2 分"
    assert state_text(RunState(1000, 1000, True, 9.0, True, None), "en") == "**finished** · step 1,000 / 1,000"
    assert [duration(seconds, "en") for seconds in (7, 59.6, 3725)] == ["7 s", "1 min 0 s", "1 h 2 min"]
