"""Reports of small evaluations: rows that are read back, tables by hand, and a page that no text of others breaks."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm.errors import DataError, Place, RecordError
from llm.formats.conversation import ImageRef
from tests.vlm.questions import benchmark_files as files
from vlm.questions.forms import judge
from vlm.questions.prompts import prompt
from vlm.questions.question import Question, QuestionSet
from vlm.questions.question_files import read_questions
from vlm.reports.answer_rows import AnswerRow, answer_rows, as_line, as_lines, read_answer_rows
from vlm.reports.html_page import html_page
from vlm.reports.markdown import markdown
from vlm.reports.summary import Benchmark, as_json, compare_judgements, summarise
from vlm.reports.words import WORDS, number
from vlm.reports.worst_cases import worst_cases
from vlm.scores.verdict import verdict

ANSWERS = ["A", "B", "A", "I cannot see the image"]


def evaluated(folder: Path) -> tuple[QuestionSet, list[AnswerRow], Benchmark]:
    """MMBench's four rows: one right, one wrong, one right, one refused; blind answers are all A."""
    [found] = read_questions([files.mmbench(folder)])
    judged, blind = judge(found.questions, ANSWERS), judge(found.questions, ["A"] * 4)
    rows = answer_rows(found.questions, [prompt(one) for one in found.questions], ANSWERS, judged)
    return found, rows, summarise("MMBench", found, judged, blind)


def test_rows_are_read_back(tmp_path: Path) -> None:
    _, rows, _ = evaluated(tmp_path)
    assert rows[0].images == (f"{tmp_path}/mmbench_dev.tsv:2",) and rows[0].wanted == ("A. red",)
    assert [(row.parsed, row.score, row.refused) for row in rows] == [
        ("A", 1.0, False), ("B", 0.0, False), ("A", 1.0, False), (None, 0.0, True),
    ]  # fmt: skip
    path = tmp_path / "answers.jsonl"
    path.write_text(as_lines(rows), "utf-8")
    assert read_answer_rows(path) == rows
    path.write_bytes(path.read_bytes()[:-20])  # as a run leaves it that was killed
    assert read_answer_rows(path) == rows[:-1]
    path.write_text("", "utf-8")
    assert read_answer_rows(path) == []


def test_what_is_no_row_of_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_answer_rows(tmp_path / "answers.jsonl")
    path = tmp_path / "answers.jsonl"
    path.write_text('{"id": 3}\n{"id": "4"}\n', "utf-8")
    with pytest.raises(RecordError, match="id: is missing or of another type"):
        read_answer_rows(path)


def test_a_summary_by_hand(tmp_path: Path) -> None:
    _, _, found = evaluated(tmp_path)
    line = found.main_line
    assert line is not None and (line.name, line.value, line.questions) == ("circular_accuracy", 0.0, 2)
    assert line.chance == pytest.approx((1 / 9 + 1 / 4) / 2) and line.blind == 0.0
    plain = next(one for one in found.metrics if one.name == "accuracy")
    assert (plain.value, plain.blind, found.refusals, found.unparsed, found.lost) == (0.5, 0.5, 1, 1, 0)
    value = json.loads(as_json("runs/x", [found]))
    assert value["model"] == "runs/x" and value["benchmarks"][0]["metrics"][0]["high"] == line.high


def test_a_summary_lists_lost_rows(tmp_path: Path) -> None:
    rows = files.mmbench_rows()
    rows[3]["answer"] = "E"
    [asked] = read_questions([files.save_table(tmp_path / "a.tsv", rows)], on_bad_row="skip")
    found = summarise("a", asked, judge(asked.questions, ["A"] * 3))
    assert found.lost == 1 and "'E' is none of the options" in found.notes[0]
    assert "'E' 不在选项 A, B 之中" in markdown("m", [found], "zh")


def test_markdown_in_both_languages(tmp_path: Path) -> None:
    _, _, found = evaluated(tmp_path)
    english, chinese = markdown("runs/x", [found], verdicts=["a | b"]), markdown("runs/x", [found], "zh")
    assert "| MMBench | circular\\_accuracy | 0.0 | 0.0 – 84.2 | 18.1 | 0.0 | 4 | 1 | 1 | 0 |" in english
    assert "- a \\| b" in english and "| 评测集 | 指标 | 得分 |" in chinese and chinese.startswith("# runs/x 的评测")
    assert [line.count("|") for line in english.split("\n")] == [
        line.count("|") for line in markdown("runs/x", [found], "zh", ["a | b"]).split("\n")
    ]


def test_hidden_answers_are_said_to_be_hidden(tmp_path: Path) -> None:
    rows = [{name: cell for name, cell in row.items() if name != "answer"} for row in files.mmbench_rows()]
    [asked] = read_questions([files.save_table(tmp_path / "a.tsv", rows)])
    judged = judge(asked.questions, ["A"] * 4)
    found = summarise("a", asked, judged)
    assert found.main == "" and "not scored" in markdown("m", [found]) and "答案未公开" in html_page("m", [found], {})
    lines = answer_rows(asked.questions, ["?"] * 4, ["A"] * 4, judged)
    assert lines[0].score == -1 and worst_cases(asked.questions, lines) == []


class _Page(HTMLParser):
    """Tags and attributes of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_the_worst_cases_with_their_images(tmp_path: Path) -> None:
    asked, rows, found = evaluated(tmp_path)
    cases = worst_cases(asked.questions, rows)
    assert sorted(case.row.id for case in cases) == ["1000001", "1000002"]
    page = _Page(html_page("runs/x", [found], {"MMBench": cases}, {"en": ["better"], "zh": ["更好"]}))
    sources = [value for name, value in page.attributes if name == "src"]
    assert len(sources) == 2 and all(value and value.startswith("data:image/jpeg;base64,") for value in sources)
    assert "I cannot see the image" in page.text and "What colour?" in page.text and "更好" in page.text
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert {name for name, _ in page.attributes if name.startswith("on") or name == "href"} == set()


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    question = Question("1", "1", "exact", "?", (ImageRef(str(tmp_path / "gone.jpg")),), answers=("x",))
    rows = answer_rows([question], ["?"], ["y"], judge([question], ["y"]))
    [case] = worst_cases([question], rows)
    assert case.images == () and "no such file" in case.missing[0]
    asked = QuestionSet("exact", "", (question,))
    page = html_page("m", [summarise("mine", asked, judge([question], ["y"]))], {"mine": [case]})
    assert "image not shown: " in page and "图片无法显示：" in page


TEXTS = st.text(max_size=60) | st.sampled_from(
    ["<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "{{ 7 * 7 }}", "{% for %}", "</style>", "|\n# x"]
)  # fmt: skip


@settings(max_examples=40)
@given(st.lists(TEXTS, min_size=6, max_size=6))
def test_no_text_of_others_becomes_markup(texts: list[str]) -> None:
    name, model, asked, answer, wanted, note = texts
    question = Question(name, "1", "exact", asked, answers=(wanted,), place=Place(name))
    judged = judge([question], [answer])
    rows = answer_rows([question], [asked], [answer], judged)
    found = summarise(name, QuestionSet("exact", "", (question,), notes=(note,)), judged)
    cases = worst_cases([question], rows)
    page, plain = (
        _Page(
            html_page(
                one[0],
                [summarise(one[1], QuestionSet("exact", "", (question,), notes=(one[2],)), judged)],
                {one[1]: cases},
            )
        )
        for one in ((model, name, note), ("m", "n", "o"))
    )
    assert page.tags == plain.tags
    text = markdown(model, [found])
    tables = [line for line in text.split("\n") if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in tables[:3]}) == 1
    assert len([line for line in text.split("\n") if line.startswith("#")]) == 2
    assert json.loads(as_line(rows[0]))["answer"] is not None


def test_two_models_are_compared(tmp_path: Path) -> None:
    [asked] = read_questions([files.mmbench(tmp_path)])
    first, second = judge(asked.questions, ["B"] * 4), judge(asked.questions, ["A", "C", "A", "B"])
    found = {one.name: one for one in compare_judgements(first, second)}
    assert (found["accuracy"].first, found["accuracy"].second, found["accuracy"].groups) == (0.25, 1.0, 2)
    assert verdict(found["accuracy"], "old", "new").endswith("too few independent questions (2)")


def test_numbers_and_words() -> None:
    assert [number("cider", 1.2345), number("perception", 1234.56), number("acc/count", 0.5), number("x", None)] == [
        "1.234", "1234.6", "50.0", "–",
    ]  # fmt: skip
    assert all(set(one) == {"en", "zh"} for one in WORDS.values())
