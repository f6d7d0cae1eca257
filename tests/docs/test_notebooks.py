"""A notebook runs from the first cell to the last on tiny models; both languages hold the same code."""

import io
import tokenize
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.docs.blocks import ROOT

NOTEBOOKS = {language: ROOT / f"docs/notebooks/quickstart.{language}.ipynb" for language in ("en", "zh")}
SHORT = """
FETCH = False
PRETRAIN = FINETUNE = OWN = IDENTITY = {"train.max_steps": 2, "train.dtype": "fp32"}
QUESTIONS = 8
OUT = "runs/notebook"
"""


def read(language: str) -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOKS[language], as_version=4)


def test_both_notebooks_hold_the_same_code_and_no_outputs() -> None:
    english, chinese = ([cell for cell in read(language).cells if cell.cell_type == "code"] for language in NOTEBOOKS)
    assert len(english) > 8
    assert [_tokens(cell.source) for cell in english] == [_tokens(cell.source) for cell in chinese]
    assert [cell.metadata for cell in english] == [cell.metadata for cell in chinese]
    assert read("en").metadata == read("zh").metadata
    assert not any(cell.outputs or cell.execution_count for cell in (*english, *chinese))


def _tokens(source: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.string for token in tokens if token.type not in (tokenize.COMMENT, tokenize.NL)]


def test_a_notebook_runs(clone: Path) -> None:
    """The cell with the sizes is the only one that is replaced. The Chinese one holds the same code, as said above."""
    notebook = read("en")
    sizes = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    assert len(sizes) == 1
    sizes[0].source = SHORT
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(clone)}}).execute()
    assert {path.name for path in (clone / "runs/notebook").iterdir()} >= {"pretrain", "finetune", "identity", "export"}
    assert "vqa_accuracy" in str(next(cell for cell in notebook.cells if "evaluate_questions" in cell.source).outputs)
    assert (clone / "runs/notebook/export/model.safetensors").exists()
