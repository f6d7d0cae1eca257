"""The example of docs/reference/evaluate runs, in both languages."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from llm.formats.conversation import Message
from tests.docs.blocks import ROOT
from tests.vlm.questions import benchmark_files as files
from vlm.questions.forms import FORMS


@pytest.mark.parametrize(
    ("page", "title"), [("evaluate.md", "# Evaluation of my model"), ("evaluate.zh.md", "# my model 的评测")]
)
def test_the_example_runs(
    page: str, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/reference" / page).read_text("utf-8"), re.DOTALL)
    files.mmbench(tmp_path)
    monkeypatch.chdir(tmp_path)

    def my_model(asked: Sequence[Message]) -> str:
        return "A" if "red" in asked[0].text else "B"

    exec(compile(code, page, "exec"), {"my_model": my_model})
    shown = capsys.readouterr().out
    assert shown.startswith(title) and "| MMBench | circular\\_accuracy |" in shown


@pytest.mark.parametrize("page", ["evaluate.md", "evaluate.zh.md"])
def test_every_form_is_in_the_table(page: str) -> None:
    text = (ROOT / "docs/reference" / page).read_text("utf-8")
    for form in FORMS.values():
        [line] = re.findall(rf"^\| `{form.name}` \|.*$", text, re.MULTILINE)
        assert f"`{form.main}`" in line
