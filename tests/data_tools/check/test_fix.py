"""The fixed file holds the sound records unchanged, the quarantine the others, and the input is never written to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from data_tools.check.check import check
from data_tools.check.fix import FixResult, fix
from data_tools.check.rules import CheckRules
from llm.config.schema import Source
from llm.errors import ConfigError, RunError
from tests.data_tools.damage import image_bytes, image_record
from tests.test_cli import Result
from tests.test_cli import run as run  # the fixture

GOOD = '{"id": 1,  "conversations": [{"from": "human", "value": "\\u4f60"}, {"from": "gpt", "value": "好"}], "n": 1e5}'
EMPTY = '{"id": 2, "conversations": [{"from": "human", "value": "你"}, {"from": "gpt", "value": ""}]}'
CUT = '{"id": 3, "conversations": [{"from": "hum'


def fixed(path: Path, out: Path) -> FixResult:
    before = path.read_bytes() if path.is_file() else b""
    found = fix(Source(path=str(path)), path.parent, out, CheckRules())
    assert not path.is_file() or path.read_bytes() == before
    assert sorted(out.parent.glob(".*")) == [], "no partial file is left"
    return found


def quarantine(found: FixResult) -> list[dict[str, Any]]:
    return [json.loads(line) for line in found.quarantine.read_text(encoding="utf-8").splitlines()]


def test_lines_keep_their_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\ufeff" + "\n".join([GOOD, EMPTY, "", GOOD.replace("1", "4", 1), CUT]), encoding="utf-8")
    found = fixed(path, tmp_path / "b.jsonl")
    assert (found.kept, found.quarantined) == (2, 2)
    assert (tmp_path / "b.jsonl").read_text(encoding="utf-8") == f"{GOOD}\n{GOOD.replace('1', '4', 1)}\n"
    first, second = quarantine(found)
    assert found.quarantine == tmp_path / "b.quarantine.jsonl"
    assert first["row"] == 2 and first["record"] == json.loads(EMPTY)
    assert second["row"] == 4 and second["text"] == CUT
    assert [entry["code"] for one in (first, second) for entry in one["findings"]] == ["answer-empty", "json-cut"]


def test_an_array_becomes_an_array_or_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(f"[\n{GOOD},\n{EMPTY},\n{json.dumps(json.loads(GOOD) | {'id': 5}, indent=1)}\n]", encoding="utf-8")
    fixed(path, tmp_path / "b.json")
    assert [row["id"] for row in json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))] == [1, 5]
    assert GOOD in (tmp_path / "b.json").read_text(encoding="utf-8")
    fixed(path, tmp_path / "b.jsonl")
    written = (tmp_path / "b.jsonl").read_text(encoding="utf-8").splitlines()
    assert written[0] == GOOD and json.loads(written[1])["id"] == 5 and len(written) == 2


def test_without_a_sound_record_the_array_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(f"[{EMPTY}]", encoding="utf-8")
    assert fixed(tmp_path / "a.json", tmp_path / "b.json").kept == 0
    assert json.loads((tmp_path / "b.json").read_text()) == []


def test_parquet_and_csv(tmp_path: Path) -> None:
    turns = image_record(0, 0)["conversations"]
    rows = [
        {"image": {"bytes": data, "path": None}, "conversations": turns}
        for data in (image_bytes(), b"no", image_bytes())
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    found = fixed(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "b.parquet").to_pylist() == [rows[0], rows[2]]
    assert quarantine(found)[0]["record"]["image"]["bytes"] == "bm8="
    (tmp_path / "a.csv").write_text('question,response,system_prompt\n"a, b",c,\nd,,\n', encoding="utf-8")
    fixed(tmp_path / "a.csv", tmp_path / "c.csv")
    assert (tmp_path / "c.csv").read_text() == 'question,response,system_prompt\n"a, b",c,\n'


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *((name, "--fix .* the input is never written to") for name in ("a.jsonl", "link.jsonl", "../data/a.jsonl")),
        ("b.parquet", "can only be written from .parquet"),
        ("b.txt", "an unknown suffix"),
    ],
)
def test_outputs_that_are_refused(tmp_path: Path, name: str, message: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.jsonl").write_text(GOOD, encoding="utf-8")
    (folder / "link.jsonl").symlink_to(folder / "a.jsonl")
    with pytest.raises(ConfigError, match=message):
        fixed(folder / "a.jsonl", folder / name)
    assert sorted(path.name for path in folder.iterdir()) == ["a.jsonl", "link.jsonl"]
    with pytest.raises(ConfigError, match="never written to"):
        fixed(folder, folder / "out.jsonl")


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(GOOD, encoding="utf-8")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Choose a writable place"):
        fixed(tmp_path / "a.jsonl", tmp_path / "file" / "b.jsonl")


def test_a_fixed_file_is_clean(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join([GOOD, EMPTY, CUT]), encoding="utf-8")
    found = fixed(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert found.report.counts == {"json-cut": 1, "answer-empty": 1}
    assert check(Source(path=str(tmp_path / "b.jsonl")), tmp_path, CheckRules()).counts == {}


def test_the_command(tmp_path: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_text(f"{GOOD}\n{EMPTY}\n", encoding="utf-8")
    found = run("data", "check", "a.jsonl", "--fix", "b.jsonl")
    assert found.code == 3 and "a.jsonl:2 (record 2): message 2 (assistant): is empty" in found.out
    assert found.out.index("1  error    answer-empty") < found.out.index("a.jsonl:2"), "counts come first"
    assert "b.jsonl: 1 records" in found.out
    assert "next: eyegraft data check b.jsonl\n" in found.out
    clean = run("data", "check", "b.jsonl")
    after = "next: eyegraft data show b.jsonl\n      eyegraft train RECIPE data.sources.0.path=b.jsonl\n"
    assert (clean.code, clean.out, clean.err) == (0, f"1 record, 0 images\nclean\n{after}", "")
    report = json.loads(run("data", "check", "a.jsonl", "--json").out)
    assert report["counts"] == {"answer-empty": 1} and report["findings"][0]["line"] == 2
    for arguments in (
        ["none.jsonl"],
        ["a.jsonl", "--fix", "a.jsonl"],
        ["a.jsonl", "--format", "alpacca"],
        ["a.jsonl", "--nonsense"],
    ):
        assert run("data", "check", *arguments).code == 2
