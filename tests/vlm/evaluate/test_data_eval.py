"""`eyegraft eval RUN --data FILE`: what the file is decides what is measured; keys of a recipe apply, others do not."""

import json
from pathlib import Path

import pytest

from data_tools.generate.identity import write_identity
from llm.errors import ConfigError
from vlm.evaluate.data_eval import evaluation_of


def test_records_are_image_questions_whatever_their_form(tmp_path: Path) -> None:
    forms = {"a.json": '[{"image": "a.png"}]', "b.jsonl": '"text"', "c.json": "[1, 2]", "d.csv": "image,question"}
    for name, text in forms.items():
        (tmp_path / name).write_text(text)
        plan = evaluation_of("runs/x", "latest", str(tmp_path / name), "pics", 5)
        assert plan.vqa is not None and plan.identity is None
        assert (plan.vqa.source.path, plan.vqa.source.images, plan.vqa.limit) == (str(tmp_path / name), "pics", 5)
        assert (plan.out, plan.run) == (f"runs/x/eval-{Path(name).stem}", "runs/x")


def test_the_held_out_file_of_an_identity_is_measured_as_one(tmp_path: Path) -> None:
    write_identity("Iris", "the team", "en", tmp_path)
    plan = evaluation_of("runs/x", "latest", str(tmp_path / "held_out.json"))
    assert plan.vqa is None and plan.identity is not None
    assert plan.identity.name == "Iris"
    assert plan.identity.paraphrases == str(tmp_path / "held_out.json")
    assert plan.identity.others == str(tmp_path / "others.json")
    assert plan.identity.general == "", "not written, so not measured"
    (tmp_path / "general.json").write_text("[]")
    again = evaluation_of("runs/x", "latest", str(tmp_path / "held_out.json"), overrides=["identity.max_new_tokens=9"])
    assert again.identity is not None
    assert (again.identity.general, again.identity.max_new_tokens) == (str(tmp_path / "general.json"), 9)


def test_the_name_is_asked_for_where_it_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(["Who are you?"]), encoding="utf-8-sig")
    with pytest.raises(ConfigError, match="Add the name: identity.name=NAME"):
        evaluation_of("runs/x", "latest", str(path))
    plan = evaluation_of("runs/x", "latest", str(path), overrides=["identity.name=Iris"])
    assert plan.identity is not None and (plan.identity.name, plan.identity.others) == ("Iris", "")
    with pytest.raises(ConfigError, match="--images and --limit are for images"):
        evaluation_of("runs/x", "latest", str(path), limit=3)


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("data.turns=apart", "data: unknown key"),
        ("vqa.contols=3", "did you mean controls"),
        ("limit=3", "limit: unknown"),
    ],
)
def test_unknown_keys_are_refused(override: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "q.json").write_text("[]")
    with pytest.raises(ConfigError, match=found):
        evaluation_of("runs/x", "latest", str(tmp_path / "q.json"), overrides=[override])


def test_known_keys_apply(tmp_path: Path) -> None:
    plan = evaluation_of("runs/x", "latest", str(tmp_path / "q.json"), overrides=["vqa.controls=3", "out=here"])
    assert plan.vqa is not None and (plan.vqa.controls, plan.out) == (3, "here")
