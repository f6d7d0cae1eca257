"""Repeating writes copies and warns of them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_tools.edit.repeat import repeat
from llm.config.schema import Source
from llm.errors import ConfigError, RecordError
from vlm.app.cli import app


def row(*answers: str, silent: str = "") -> dict[str, object]:
    turns: list[dict[str, object]] = []
    for text in answers:
        answer = {"role": "assistant", "content": text, "loss": text != silent}
        turns += [{"role": "user", "content": "问"}, answer]
    return {"messages": turns}


def test_copies_and_answers_are_counted(tmp_path: Path) -> None:
    rows = [row("是", "否"), row("是"), row("x", "never"), row("是")]
    file, out = tmp_path / "a.json", tmp_path / "b.json"
    file.write_text(json.dumps(rows))
    done = repeat(Source(path=str(file)), 200, out)
    assert json.loads(out.read_text(encoding="utf-8")) == rows * 200
    assert (done.rows, done.copies, done.answers, done.distinct) == (4, 200, 6, 4)
    assert (done.commonest, done.times, done.seen, done.images) == ("是", 3, 600, "")
    assert done.warning().startswith(
        "4 different answers in 1,200; the most common would be seen 600 times an epoch: '是'\n"
    )


def test_answers_without_loss_are_not_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(row("a", "b", silent="a")))
    done = repeat(Source(path=str(tmp_path / "a.jsonl")), 2, tmp_path / "b.jsonl")
    assert (done.answers, done.commonest) == (1, "b")


def test_refusals(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(row("a")))
    (tmp_path / "broken.jsonl").write_text(json.dumps(row("a")) + "\n" + json.dumps(row(" ")))
    with pytest.raises(ConfigError, match="1 copies"):
        repeat(Source(path=str(tmp_path / "a.jsonl")), 1, tmp_path / "b.jsonl")
    with pytest.raises(ConfigError, match="never written over"):
        repeat(Source(path=str(tmp_path / "a.jsonl")), 2, tmp_path / "a.jsonl")
    with pytest.raises(RecordError, match=r"broken\.jsonl:2"):
        repeat(Source(path=str(tmp_path / "broken.jsonl")), 2, tmp_path / "b.jsonl")
    assert not (tmp_path / "b.jsonl").exists()


def test_the_command_warns_on_stderr(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    turns = [{"from": "human", "value": "<image>图"}, {"from": "gpt", "value": "我是小睛"}]
    (tmp_path / "in" / "a.jsonl").write_text(json.dumps({"image": "a.png", "conversations": turns}))
    done = CliRunner().invoke(app, ["data", "repeat", f"{tmp_path}/in/a.jsonl", "10000", f"{tmp_path}/b.jsonl"])
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{tmp_path}/b.jsonl: 10000 x 1 records = 10000, llava\n")
    assert f"images: {tmp_path}/in" in done.stdout
    assert "1 different answers in 10,000; the most common would be seen 10,000 times" in done.stderr
    for advice in ("data identity", "data mix", "weight: 10000", "train.probes"):
        assert advice in done.stderr
    assert (tmp_path / "b.jsonl").read_text(encoding="utf-8").count("小睛") == 10_000
