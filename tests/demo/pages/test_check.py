"""The check on the Data page: counts, records and images of findings, the cleaned file, and escaped texts."""

import base64
import html
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from data_tools.check.findings import CODES, Finding
from demo.pages.check import _cards
from demo.pages.i18n import cards_text, check_text, cleaned_text, code_choices
from demo.pages.parts import check_session as under_test
from demo.pages.parts.check_session import (
    FINDINGS_SHOWN,
    CheckResult,
    FindingCard,
    clean,
    clean_name,
    images_folder,
    run_check,
)
from demo.pages.parts.choices import name_before_id
from demo.pages.parts.finding_cards import cards
from demo.pages.parts.record_preview import preview_record, thumbnail
from llm.config.schema import Source
from llm.errors import ConfigError, DataError, Place
from llm.formats.conversation import ImageRef
from llm.rows.raw_row import RawRow
from tests.data_tools.damage import bomb, chat_record, image_bytes, image_record
from tests.demo.payloads import XSS


@pytest.fixture
def damaged(tmp_path: Path) -> Source:
    """Seven records: two valid, a missing image, an extra mark, an empty answer, a special token, half a line."""
    (tmp_path / "猫.png").write_bytes(image_bytes(size=(400, 100)))
    rows = [
        image_record(0, "猫.png"),
        image_record(1, "gone.png"),
        image_record(2, "猫.png", "<image><image>哪个?"),
        chat_record(3, ("human", "问题"), ("gpt", " ")),
        chat_record(4, ("human", "Hi <|im_end|>"), ("gpt", "好")),
        chat_record(5, ("human", "Hi"), ("gpt", "好")),
    ]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "数据.jsonl").write_text(f'{text}\n{{"id": "half', encoding="utf-8")
    return Source(path=str(tmp_path / "数据.jsonl"))


def final(steps: Iterator[CheckResult]) -> CheckResult:
    return list(steps)[-1]


FOUND = {"json-cut": 7, "answer-empty": 4, "image-count": 3, "image-missing": 2, "token-literal": 5}


def test_every_finding_comes_with_its_record(damaged: Source) -> None:
    checked = final(run_check(damaged))
    assert checked.done and (checked.report.rows, checked.report.bad_rows, checked.report.images) == (7, 4, 2)
    assert {card.finding.code: card.finding.place.line for card in checked.cards} == FOUND
    records = {card.finding.code: card.record for card in checked.cards}
    assert records["json-cut"] == '{"id": "half'
    assert json.loads(records["answer-empty"]) == chat_record(3, ("human", "问题"), ("gpt", " "))
    assert "问题" in records["answer-empty"] and "哪个?" in records["image-count"]


def test_images_of_invalid_records_are_shown(damaged: Source) -> None:
    checked = final(run_check(damaged))
    names = {code: [Path(image.path).name for image in checked.of(code)[0].images] for code in FOUND}
    assert names == {
        "json-cut": [],
        "answer-empty": [],
        "image-count": ["猫.png"],
        "image-missing": ["gone.png"],
        "token-literal": [],
    }
    drawn = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', cards(checked.of("image-count"), str, "en"))
    assert len(drawn) == 1 and Image.open(io.BytesIO(base64.b64decode(drawn[0]))).size == (240, 60)
    assert "<img" not in cards(checked.of("image-missing"), str, "en"), "an image that cannot be opened is not shown"


def test_images_outside_the_folder_are_not_shown(damaged: Source, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    rows = [image_record(0, "../猫.png"), image_record(1, str(tmp_path / "猫.png")), image_record(2, "file:///猫.png")]
    (inner / "a.json").write_text(json.dumps(rows))
    checked = final(run_check(Source(path=str(inner / "a.json"))))
    assert checked.report.counts == {"image-outside": 3}
    assert [card.images for card in checked.cards] == [()] * 3


def test_embedded_images_become_thumbnails(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    data = image_bytes(size=(2000, 1000))
    turns = [{"from": "human", "value": "<image>What? <|im_end|>"}, {"from": "gpt", "value": "A"}]
    rows = [{"image": {"bytes": data, "path": None}, "conversations": turns}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    checked = final(run_check(Source(path=str(tmp_path / "a.parquet"))))
    (card,) = checked.of("token-literal")
    assert f"({len(data):,} bytes)" in card.record
    assert Image.open(io.BytesIO(card.images[0].data)).size == (240, 120)
    assert len(card.images[0].data) < len(data) / 20


def test_all_findings_are_counted_and_the_first_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "UPDATE_SECONDS", -1.0)
    rows = [chat_record(number, ("human", f"Q{number}"), ("gpt", "")) for number in range(25)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    steps = list(run_check(Source(path=str(tmp_path / "a.json"))))
    assert [step.done for step in steps] == [False] * 25 + [True]
    assert [step.report.counts["answer-empty"] for step in steps] == [*range(1, 26), 25], "counts grow during the check"
    assert [card.finding.row for card in steps[-1].of("answer-empty")] == list(range(1, FINDINGS_SHOWN + 1))


def test_closing_the_iterator_ends_the_check(damaged: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    check_rows = under_test.check_rows

    def counted(*given: Any) -> Iterator[Any]:
        try:
            for row in check_rows(*given):
                seen.append(row.row)
                yield row
        finally:
            seen.append(-1)

    monkeypatch.setattr(under_test, "UPDATE_SECONDS", -1.0)
    monkeypatch.setattr(under_test, "check_rows", counted)
    steps = run_check(damaged)
    next(steps)
    steps.close()
    assert seen == [1, -1]


def test_the_cleaned_file_is_written_to_the_given_folder(damaged: Source, tmp_path: Path) -> None:
    before = Path(damaged.path).read_bytes()
    folder = tmp_path / "uploads"
    folder.mkdir()
    steps: list[tuple[int, int]] = []
    fixed = clean(final(run_check(damaged)), folder, lambda rows, images: steps.append((rows, images)))
    assert fixed.out.parent == fixed.quarantine.parent == folder
    assert (fixed.out.name, fixed.quarantine.name) == ("数据.clean.jsonl", "数据.clean.quarantine.jsonl")
    lines = before.splitlines(keepends=True)
    assert fixed.out.read_bytes() == lines[0] + lines[4] + lines[5]
    away = [json.loads(line) for line in fixed.quarantine.read_text(encoding="utf-8").splitlines()]
    assert [entry["row"] for entry in away] == [2, 3, 4, 7]
    assert (fixed.kept, fixed.quarantined) == (3, 4) and steps[-1] == (7, 2)
    assert Path(damaged.path).read_bytes() == before
    another = tmp_path / "another"
    another.mkdir()
    again = clean(final(run_check(damaged)), another)
    assert again.out != fixed.out and again.out.read_bytes() == fixed.out.read_bytes()


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["a.json"], "set.clean.json"),
        (["a.parquet", "b.parquet"], "set.clean.parquet"),
        (["a.json", "b.csv"], "set.clean.jsonl"),
        (["a.txt"], "set.clean.jsonl"),
    ],
)
def test_the_name_of_the_cleaned_file(tmp_path: Path, files: list[str], name: str) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for file in files:
        (folder / file).write_text("")
    assert clean_name(folder) == name
    assert images_folder(Source(path=str(folder))) == str(folder)
    assert images_folder(Source(path=str(folder / files[0]))) == str(folder)
    assert images_folder(Source(path=str(folder), images="/images")) == "/images"


def test_the_cleaned_file_of_a_service_is_named_after_the_visitors(tmp_path: Path) -> None:
    """A service stores an upload under its id; the name is a client's, so only what every disk takes of it is used."""
    stored = tmp_path / "file-0a1b.jsonl"
    stored.write_text(
        json.dumps({"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "x"}]})
    )
    fixed = clean(
        final(run_check(Source(path=str(stored)), name_before_id("客服 记录.v2.jsonl (file-0a1b)"))), tmp_path
    )
    assert fixed.out.name == "客服-记录.v2.clean.jsonl" and fixed.out.read_text() == stored.read_text() + "\n"
    assert fixed.quarantine.name == "客服-记录.v2.clean.quarantine.jsonl"
    named = {"a.jsonl.xz": "a", "../../etc.jsonl": "etc", "...jsonl": "file-0a1b", "界" * 300 + ".json": "界" * 50}
    for name, stem in named.items():
        assert clean_name(stored, name=name) == f"{stem}.clean.jsonl"
    assert name_before_id("data/mine.jsonl") == name_before_id("data (new)") == ""


def test_errors_are_those_of_the_command_line(tmp_path: Path) -> None:
    from data_tools.check.command import CheckOptions, run

    (tmp_path / "a.doc").write_text("x")
    for path, kind in ((tmp_path / "gone.json", ConfigError), (tmp_path / "a.doc", DataError)):
        with pytest.raises(kind) as raised:
            final(run_check(Source(path=str(path))))
        with pytest.raises(kind) as printed:
            run(CheckOptions(str(path)))
        assert str(raised.value) == str(printed.value) and str(path) in str(raised.value)


# Texts ----------------------------------------------------------------------------------------------------------------


def test_the_texts_of_a_check_in_both_languages(damaged: Source) -> None:
    checked = final(run_check(damaged))
    assert check_text("a.jsonl", checked, "en") == "`a.jsonl` · 7 records · 2 images · **not usable for training: 4**"
    assert check_text("a.jsonl", checked, "zh") == "`a.jsonl` · 7 条记录 · 2 张图片 · **4 条不能用于训练**"
    assert code_choices(checked, "en")[0] == ("1 x error: JSON that ends inside a record (json-cut)", "json-cut")
    assert [code for _, code in code_choices(checked, "zh")] == list(FOUND)
    assert code_choices(checked, "zh")[-1] == ("1 处警告 · 文本中写有特殊 token（token-literal）", "token-literal")
    assert cards_text("image-count", 3, 3, "en") == "### numbers of &lt;image> placeholders and images differ"
    assert cards_text("answer-empty", 10, 1234, "zh") == "### 回答为空 · 前 10 条，共 1,234 条"


def test_cards_are_translated_with_their_advice(damaged: Source) -> None:
    checked = final(run_check(damaged))
    chinese = "".join(cards(checked.of(code), str, "zh") for code in FOUND)
    for text in (
        "字符串没有结束引号",
        "有 2 个 &lt;image&gt; 占位符，却给出 1 张图片",
        "为空",
        "请补上文字，或删除该记录",
    ):
        assert text in chinese, text
    assert not re.search(
        r"[a-z]{3,} [a-z]{3,} [a-z]{3,}", re.sub(r"<pre>.*?</pre>|<img[^>]*>", "", chinese, flags=re.S)
    )


def test_errors_come_before_warnings() -> None:
    report = final_report("id-duplicate", "image-broken", "json-bom", "row-type")
    assert [code for _, code in code_choices(report, "en")] == ["image-broken", "row-type", "id-duplicate", "json-bom"]


def final_report(*codes: str) -> CheckResult:
    from data_tools.check.report import CheckReport

    assert {CODES[code].level for code in codes} == {"error", "warning"}
    return CheckResult(Source(path="a"), CheckReport(9, 0, dict.fromkeys(codes, 1), ()), (), done=True)


def test_the_texts_of_a_clean_file_and_of_a_running_check(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([chat_record(1, ("human", "Q"), ("gpt", "A"))]))
    checked = final(run_check(Source(path=str(tmp_path / "a.json"))))
    assert check_text("a", checked, "en") == "`a` · 1 record · 0 images · **all usable for training** · no findings"
    fixed = clean(checked, tmp_path)
    assert cleaned_text(fixed, "", "en").split("\n\n") == [
        "`a.clean.json`: 1 record, unchanged",
        "`a.clean.quarantine.jsonl`: 0 records not usable for training, with the findings",
    ]
    assert cleaned_text(fixed, "/data", "zh").endswith("`images: /data`")
    running = CheckResult(checked.source, checked.report, ())
    assert check_text("a", running, "en") == "checking · 1 record · 0 images"


def test_a_code_without_findings_changes_nothing(damaged: Source) -> None:
    checked = final(run_check(damaged))
    skip = _cards(None, "json-cut", str, "en")
    assert _cards(checked, "image-huge", str, "en") == _cards(checked, "../x", str, "en") == skip
    assert "half" in _cards(checked, "json-cut", str, "en")[1]


# Records as text ------------------------------------------------------------------------------------------------------


def test_cards_contain_only_our_own_elements() -> None:
    """Forty payloads and gradio's template markers in every field: all of them are shown as text."""
    for payload in (*XSS, "${window.hacked=1}", "{{constructor}}", "`${1}`", "\\u003cscript>", "\ud83d"):
        place = Place(payload, 1, payload)
        made = cards([FindingCard(Finding("record", place, 1, payload, payload, payload), payload, ())], str, "en")
        assert set(re.findall(r"<(\w+)", made)) == {"div", "p", "b", "pre"}
        assert re.findall(r"<[^>]*\bon\w+=", made) == []
        assert not set("${}`\\") & set(made)
        text = payload.encode("utf-8", "backslashreplace").decode()
        in_place = 0 if "\n" in payload else 2  # a place is one line: line breaks are escaped there
        assert html.unescape(made).count(text) == 4 + in_place


def test_long_records_are_shortened() -> None:
    row = {"text": "长" * 5000, "list": list(range(1000)), "deep": json.loads("[" * 50 + "]" * 50), "half": "\ud83d"}
    made = json.loads(preview_record(RawRow(Place("a"), row)))
    assert made["text"] == "长" * 400 + "... (5,000 characters)"
    assert made["list"] == [*range(20), "... (980 more)"]
    assert json.dumps(made["deep"]) == "[" * 7 + '"..."' + "]" * 7
    assert made["half"] == "\ud83d", "escaped in the preview, as JSON does"
    assert len(preview_record(RawRow(Place("a"), {str(n): "x" * 900 for n in range(999)}))) < 4100
    assert preview_record(RawRow(Place("a"), None, " x" * 5000)).endswith("... (9,999 characters)")
    noise = (bytes(range(256)) * 40).decode("utf-8", "surrogateescape")
    assert preview_record(RawRow(Place("a"), None, noise)) == "(binary, 10,240 bytes)"
    chinese = '{"a": "中文"'.encode("gb18030").decode("utf-8", "surrogateescape")
    assert preview_record(RawRow(Place("a"), None, chinese)).startswith('{"a": "')


def test_an_image_that_is_too_large_has_no_thumbnail() -> None:
    """A valid image with 16,001 pixels more than the limit of 64 million."""
    assert thumbnail(ImageRef(data=bomb(8001))) == b""
    assert Image.open(io.BytesIO(thumbnail(ImageRef(data=bomb(800))))).size == (240, 240)
    assert thumbnail(ImageRef("/no/such.png")) == b""
