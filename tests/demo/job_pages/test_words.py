"""The texts of the pages: both languages, the same values in both."""

import re

import pytest

from demo.job_pages.curves import words as curve_words
from demo.job_pages.parts import export_words, failure_words, home_words, job_kind, table_words, words
from demo.job_pages.parts.job_kind import METHODS
from demo.job_pages.parts.words import ago, span
from demo.job_pages.plan import plan_words
from demo.job_pages.train import words as train_words
from vlm.service.store.states import State

TABLES = {
    f"{module.__name__}.{name}": table
    for module in (
        words,
        export_words,
        failure_words,
        home_words,
        job_kind,
        table_words,
        train_words,
        plan_words,
        curve_words,
    )
    for name, table in vars(module).items()
    if name.isupper() and isinstance(table, dict)
}
SAME = {"as_json", "as_curl", "as_python"}


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_text_has_both_languages(name: str) -> None:
    for key, (english, chinese) in TABLES[name].items():
        if key in SAME or english == chinese == METHODS.get(key, ("",))[0]:  # names
            continue
        assert english.isascii() and any("\u4e00" <= char <= "\u9fff" for char in chinese), key
        assert english.count("{") == chinese.count("{"), key
        assert not re.search(r"[\u4e00-\u9fff][,:;()]|[,:;()][\u4e00-\u9fff]", chinese), f"{key}: half-width mark"


def test_every_state_has_a_word_and_a_meaning() -> None:
    names = {state.value for state in State} | {"preparing"}  # runs, without a step
    assert len(TABLES) >= 7 and words.STATES.keys() == words.MEANINGS.keys() == names


def test_times() -> None:
    assert [span(seconds, "en") for seconds in (5, 90, 3_700, 100_000)] == [
        "under a minute",
        "2 min",
        "1 h 2 min",
        "1 d 3 h",
    ]
    past = [ago(seconds, "en") for seconds in (30, 600, 7300, 200_000)]
    assert past == ["just now", "10 min ago", "2 h ago", "2 d ago"]
    assert ago(600, "zh") == "10 分钟前"
