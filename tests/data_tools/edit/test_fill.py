"""Templates are filled in everywhere, and unknown placeholders are refused."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_tools.edit.fill import FillResult, fill
from llm.errors import ConfigError, RecordError, RunError
from vlm.app.cli import app


def test_every_field_is_filled_and_counted(tmp_path: Path) -> None:
    rows = [
        {"instruction": "hi", "input": "", "output": "Hello! I am {{name}}, an AI assistant developed by {{author}}."},
        {"system": "你是{{ NAME }}。", "conversations": [{"from": "gpt", "value": "{{NAME}}{{AUTHOR}}"}], "n": 1},
        {"output": "{{ {1: 2} }} and {name} are code"},
    ]
    (tmp_path / "a.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    done = fill(tmp_path / "a.json", tmp_path / "b.json", "小{{NAME}}", " the team ")
    assert done == FillResult({"NAME": 3, "AUTHOR": 2}, rows=3, changed=2)
    first, second, third = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert first["output"] == "Hello! I am 小{{NAME}}, an AI assistant developed by the team."
    assert second == {
        "system": "你是小{{NAME}}。",
        "conversations": [{"from": "gpt", "value": "小{{NAME}}the team"}],
        "n": 1,
    }
    assert third == rows[2]


@pytest.mark.parametrize("unknown", ["{{VERSION}}", "{{ 名字 }}", "{{}}"])
def test_an_unknown_placeholder_is_refused_with_its_place(tmp_path: Path, unknown: str) -> None:
    rows = [{"output": "{{NAME}}"}, {"id": "x7", "messages": [{"role": "assistant", "content": f"I am {unknown}"}]}]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(RecordError) as caught:
        fill(tmp_path / "a.jsonl", tmp_path / "b.jsonl", "Iris", "us")
    assert f"a.jsonl:2 (record x7): messages.content: {unknown} is an unknown placeholder" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_an_empty_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}")
    with pytest.raises(ConfigError, match="author: ''"):
        fill(tmp_path / "a.jsonl", tmp_path / "b.jsonl", "Iris", " ")


def test_the_command(tmp_path: Path) -> None:
    file, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    file.write_text('{"output": "{{NAME}} {{NAME}}"}\n{"output": ""}\n')
    done = CliRunner().invoke(app, ["data", "fill", str(file), str(out), "--name", "Iris", "--author", "us"])
    assert (done.exit_code, done.output) == (
        0,
        f"{out}: 2 filled in 1 of 2 records\n  {{{{NAME}}}}: 2\n  {{{{AUTHOR}}}}: 0\nnext: eyegraft data check {out}\n",
    )
    assert out.read_text() == '{"output": "Iris Iris"}\n{"output": ""}\n'


def test_a_file_without_placeholders_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"output": "I am NAME."}]')
    with pytest.raises(RunError, match="no text has {{NAME}} or {{AUTHOR}}. Older templates have NAME without braces"):
        fill(tmp_path / "a.json", tmp_path / "b.json", "Iris", "us")
    assert not (tmp_path / "b.json").exists()
