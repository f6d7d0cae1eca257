"""The table of evaluation programs holds what `make evaluators` measured, and all of it agrees."""

import json

from docs.generate.evaluators import RESULT, evaluators
from docs.generate.hooks import PARTS
from tests.docs.blocks import ROOT


def test_the_table_holds_the_result() -> None:
    found = json.loads(RESULT.read_text(encoding="utf-8"))
    assert {one["package"] for one in found["programs"]} == {"lm_eval", "inspect-ai", "evalscope", "lmms-eval"}
    text = evaluators()
    for program in found["programs"]:
        assert program["failed_requests"] == 0, "run: make evaluators"
        for file in program["files"]:
            assert file["questions"] == file["same_score"] == file["same_text"], "run: make evaluators"
            assert (
                f"({program['package']} {program['version']}) | `{file['file']}` | {file['questions']} | 0 of " in text
            )
    assert PARTS["evaluators"] is evaluators


def test_both_pages_show_it() -> None:
    for page in ("other-evaluators.md", "other-evaluators.zh.md"):
        assert "<!-- generate: evaluators -->" in (ROOT / "docs/how-to/runs" / page).read_text(encoding="utf-8")
