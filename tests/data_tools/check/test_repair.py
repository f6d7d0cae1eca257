"""What `data check --fix` repairs and what it leaves; exit codes of the command."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from data_tools.check.check import check
from data_tools.check.fix import fix
from data_tools.check.repair import add_placeholders, repair_paths
from data_tools.check.rules import CheckRules
from llm.config.schema import Source
from tests.data_tools.damage import image_bytes
from tests.test_cli import Result
from tests.test_cli import run as run  # the fixture

ANSWER = {"from": "gpt", "value": "A  cat, \\ it is.\n"}


def record(image: object, question: str) -> dict[str, object]:
    return {"image": image, "conversations": [{"from": "human", "value": question}, ANSWER]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "img").mkdir()
    for name in ("a.jpg", "b.png"):
        (tmp_path / "img" / name).write_bytes(image_bytes())
    return tmp_path


def test_records_are_repaired_and_every_change_is_listed(folder: Path) -> None:
    rows = [
        record("img/a.jpg", "<image>\nSound?"),
        record("img\\A.JPG", "<image>\nWhat?"),
        record(["img/a.jpg", "/img/b.jpg"], "Which?"),
        record("img/gone.jpg", "<image>\nLost?"),
        record("img/a.jpg", "<image> or <image>?"),
    ]
    (folder / "a.json").write_text(json.dumps(rows))
    done = fix(Source(path="a.json"), folder, folder / "b.jsonl", CheckRules())
    assert [json.loads(line) for line in (folder / "b.jsonl").read_text().splitlines()] == [
        rows[0],
        record("img/a.jpg", "<image>\nWhat?"),
        record(["img/a.jpg", "img/b.png"], "<image>\n<image>\nWhich?"),
    ]
    assert (done.kept, done.quarantined, done.changed) == (3, 2, 2)
    assert done.report.counts == {"image-count": 1, "repaired": 3, "image-missing": 1}
    changes = [json.loads(line) for line in (folder / "b.changes.jsonl").read_text().splitlines()]
    assert [(one["row"], one["field"], one["before"], one["after"]) for one in changes] == [
        (2, "image", "img\\A.JPG", "img/a.jpg"),
        (3, "image", "/img/b.jpg", "img/b.png"),
        (3, "conversations[0].value", "Which?", "<image>\n<image>\nWhich?"),
    ]
    assert check(Source(path="b.jsonl"), folder, CheckRules()).counts == {}


def test_without_fix_a_path_of_another_spelling_is_a_warning(folder: Path) -> None:
    (folder / "a.json").write_text(json.dumps([record("IMG/a.jpg", "<image>\nWhat?")]))
    report = check(Source(path="a.json"), folder, CheckRules())
    assert report.counts == {"image-path": 1} and report.images == 1 and not report.has_errors
    assert report.findings[0].found == "'IMG/a.jpg' is read as img/a.jpg"


def test_a_list_of_changes_of_an_earlier_call_goes(folder: Path) -> None:
    (folder / "b.changes.jsonl").write_text("old")
    (folder / "a.json").write_text(json.dumps([record("img/a.jpg", "<image>\nWhat?")]))
    assert fix(Source(path="a.json"), folder, folder / "b.json", CheckRules()).changes is None
    assert not (folder / "b.changes.jsonl").exists()


def test_placeholders_go_before_the_first_question_of_messages() -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What?"}]
    row, changes = add_placeholders({"images": ["a.png"], "messages": turns})
    assert row["messages"] == [turns[0], {"role": "user", "content": "<image>\nWhat?"}] and len(changes) == 1
    assert add_placeholders({"image": "a.png", "text": "x"}) == ({"image": "a.png", "text": "x"}, [])


def test_urls_and_embedded_images_are_no_paths(folder: Path) -> None:
    row = {"images": ["https://x/img/A.jpg", "data:image/png;base64,AA==", {"bytes": "AA==", "path": "IMG/a.jpg"}]}
    assert repair_paths(row, str(folder)) == (row, [])


WARNED = record("img\\a.jpg", "<image>\nWhat?")


@pytest.mark.parametrize(
    ("name", "content", "options", "code"),
    [
        ("a.json", json.dumps([WARNED]), [], 0),
        ("a.json", json.dumps([WARNED]), ["--strict"], 3),
        ("a.json", json.dumps([record("img/a.jpg", "<image>\nWhat?")]), ["--strict"], 0),
        ("a.json", json.dumps([record("img/gone.jpg", "<image>\nWhat?")]), [], 3),
        ("a.json", "[]", [], 3),
        ("a.csv", "question,answer\n", [], 3),
        ("a.csv", "frage;antwort\nWas?;Ja\n", ["--columns", "input=frage", "--columns", "output=antwort"], 0),
        ("a.csv", "frage;antwort\nWas?;Ja\n", ["--columns", "input=frage", "--columns", "output=answer"], 2),
        ("a.json", '{"test": [{"instruction": "a", "output": "b"}]}', ["--split", "test"], 0),
        ("a.json", '{"test": [{"instruction": "a", "output": "b"}]}', [], 3),
    ],
)
def test_exit_codes(
    folder: Path, run: Callable[..., Result], name: str, content: str, options: list[str], code: int
) -> None:
    (folder / name).write_text(content)
    found = run("data", "check", str(folder / name), *options)
    assert found.code == code, found.out + found.err
    assert "all can be trained on" not in found.out or code == 0 or options


def test_other_splits_are_a_warning(folder: Path) -> None:
    (folder / "a.json").write_text('{"train": [{"instruction": "a", "output": "b"}], "test": []}')
    report = check(Source(path="a.json"), folder, CheckRules())
    assert report.rows == 1 and report.counts == {"split-unread": 1}
    assert report.findings[0].found == "reads train; not read: test (0)"


def test_a_template_that_is_not_filled_in_is_a_warning(folder: Path) -> None:
    turns = [
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "I am {{ name }} by {{AUTHOR}}, {{x}}."},
    ]
    (folder / "a.json").write_text(json.dumps([{"messages": turns}]))
    report = check(Source(path="a.json"), folder, CheckRules())
    assert report.counts == {"placeholder": 1} and "eyegraft data fill FILE OUT" in report.findings[0].advice
    assert report.findings[0].found == "{{ name }} is left in the text"


@pytest.mark.parametrize(
    ("content", "options", "following"),
    [
        ('{"test": [{"instruction": "a", "output": "b"}]}', ["--split", "test"],
         "next: eyegraft data show a.json --split test\n"
         "      eyegraft train RECIPE data.sources.0.path=a.json data.sources.0.split=test\n"),
        ('[{"q": "a", "a b": "c"}]', ["--columns", "input=q", "--columns", "output=a b"],
         "next: eyegraft data convert a.json a.train.json --to llava --columns input=q --columns 'output=a b'\n"),
        ('[{"q": "a", "b": "c"}]', [],
         "next: eyegraft data check a.json --columns input=COLUMN --columns output=COLUMN\n"),
        ('[{"instruction": "a", "output": ""}]', [], "next: eyegraft data check a.json --fix a.fixed.jsonl\n"),
        ("[]", [], "0 records: training stops with the error above\n"),
    ],
)  # fmt: skip
def test_the_next_commands(
    folder: Path,
    run: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    content: str,
    options: list[str],
    following: str,
) -> None:
    monkeypatch.chdir(folder)
    Path("a.json").write_text(content)
    assert run("data", "check", "a.json", *options).out.endswith(following)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{"text": "a, }"},\n{"text": "b",}\n'),
        ("a.json", '[\n{"text": "a, }",},\n{"text": "b", },\n]\n'),
    ],
)
def test_trailing_commas_are_repaired(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    done = fix(Source(path=name), tmp_path, tmp_path / "out" / "fixed.jsonl", CheckRules())
    assert (done.kept, done.quarantined, done.changed) == (2, 0, 2)
    assert [json.loads(line) for line in done.out.read_text().splitlines()] == [{"text": "a, }"}, {"text": "b"}]


def test_a_compressed_file_that_ends_early_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n' * 1000)[:60])
    assert set(check(Source(path="a.jsonl.gz"), tmp_path, CheckRules()).counts) == {"file-broken", "no-rows"}
