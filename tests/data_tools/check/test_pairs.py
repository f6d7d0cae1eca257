"""Checks of preference rows: what of a pair or of a labelled answer cannot be compared, and what a run learns."""

import json
from pathlib import Path
from typing import Any

import pytest

from data_tools.check.check import check
from data_tools.check.recipe_check import check_recipe
from data_tools.check.report import CheckReport
from data_tools.check.rules import CheckRules
from llm.config.schema import Source
from tests.data_tools.damage import image_bytes

SOUND = {"prompt": "Which?", "chosen": "This one.", "rejected": "That one."}
TURNS = [{"role": "user", "content": "Which?"}]


def said(text: str, *before: dict[str, str]) -> list[dict[str, str]]:
    return [*(before or TURNS), {"role": "assistant", "content": text}]


def written(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def checked(path: Path, **rules: Any) -> CheckReport:
    return check(Source(path=str(path)), path.parent, CheckRules(**rules))


FAULTS: dict[str, dict[str, Any]] = {
    "pair-same": SOUND | {"rejected": "This one."},
    "pair-empty": SOUND | {"rejected": None},
    "pair-prompts": {"chosen": said("A"), "rejected": said("B", {"role": "user", "content": "Who?"})},
    "pair-images": SOUND | {"images": ["ok.png"], "rejected_images": ["other.png"]},
    "pair-length": SOUND | {"chosen": "long " * 50},
    "pair-scores": {"prompt": "Which?", "responses": ["A", "B"], "scores": [1, None]},
}


@pytest.mark.parametrize("code", FAULTS)
def test_a_pair_that_cannot_be_compared_gets_its_code(code: str, tmp_path: Path) -> None:
    (tmp_path / "ok.png").write_bytes(image_bytes())
    report = checked(written(tmp_path, FAULTS[code], SOUND))
    assert set(report.counts) == {code} and [finding.row for finding in report.findings] == [1], report.findings
    assert report.bad_rows == (code != "pair-length")


def test_images_in_one_of_two_conversations(tmp_path: Path) -> None:
    (tmp_path / "ok.png").write_bytes(image_bytes())
    seen = [{"role": "user", "content": [{"type": "image", "image": "ok.png"}, {"type": "text", "text": "Which?"}]}]
    report = checked(written(tmp_path, {"chosen": said("A", *seen), "rejected": said("B")}))
    assert set(report.counts) == {"pair-images"}
    assert report.findings[0].found == "1 images with the chosen answer, 0 with the rejected one"


def test_what_supervised_fine_tuning_does_not_read_is_not_checked(tmp_path: Path) -> None:
    path = written(tmp_path, FAULTS["pair-same"], FAULTS["pair-length"])
    assert not checked(path, answers="chosen").counts
    assert set(checked(path).counts) == {"pair-same", "pair-length"}


def test_two_pairs_with_one_chosen_answer_are_no_repetition(tmp_path: Path) -> None:
    other = SOUND | {"rejected": "Neither."}
    assert not checked(written(tmp_path, SOUND, other)).counts
    assert set(checked(written(tmp_path, SOUND, other, SOUND)).counts) == {"row-duplicate"}


def recipe(folder: Path, data: Path, prefer: str) -> str:
    file = folder / "recipe.yaml"
    head = f"name: it\nstage: prefer\nmodel: {{llm: {folder}/none}}\n"
    file.write_text(f"{head}data: {{sources: [{{path: {data}}}]}}\nprefer: {prefer}\n")
    return str(file)


def test_a_recipe_decides_what_is_asked_of_its_records(tmp_path: Path) -> None:
    plain = written(tmp_path, {"messages": said("A")}, {"messages": said("B")})
    assert set(check_recipe(recipe(tmp_path, plain, "{}"), CheckRules()).counts) == {"pair-form"}
    assert set(check_recipe(recipe(tmp_path, plain, "{loss: kto}"), CheckRules()).counts) == {"label-missing"}
    labelled = written(tmp_path, {"messages": said("A"), "label": True}, {"messages": said("B"), "label": False})
    assert not check_recipe(recipe(tmp_path, labelled, "{loss: kto}"), CheckRules()).counts, "bad answers are learnt"
    margins = written(tmp_path, SOUND | {"strength": 0.5}, SOUND | {"chosen": "It.", "strength": "much"})
    found = check_recipe(recipe(tmp_path, margins, "{margin_column: strength}"), CheckRules())
    assert set(found.counts) == {"field-type"} and found.findings[0].row == 2
