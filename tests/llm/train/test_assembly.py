"""Text runs need no vision code: they are trained, evaluated and chatted with where importing `vlm.vision` fails."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from llm.errors import ConfigError
from llm.files.saved_checkpoints import list_checkpoints
from llm.train.assembly import open_text_model
from llm.train.checkpoint_state import read_weights
from llm.train.earlier_runs import read_text_run
from tests.llm.text_runs import six_steps, unfinished

# Runs several commands, separated by ";", in a process in which `import vlm.vision` raises ModuleNotFoundError.
WITHOUT_VISION = """
import sys
sys.modules["vlm.vision"] = None
from vlm.app.cli import main
for command in " ".join(sys.argv[1:]).split(" ; "):
    sys.argv = ["eyegraft", *command.split()]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
assert "peft" in sys.modules and "torch._inductor.compile_fx" not in sys.modules, "torch's compiler was loaded"
"""


def without_vision(folder: Path, *commands: str) -> subprocess.CompletedProcess[str]:
    """The commands of `eyegraft`, in order, in a process without vision code; each chat is asked one question."""
    arguments = " ; ".join(commands).split()
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_VISION, *arguments],
        cwd=folder,
        input="Who are you?\nEXIT\n",
        capture_output=True,
        text=True,
    )


def test_a_text_run_is_trained_evaluated_and_chatted_with_without_vision_code(tiny_llama: Path, tmp_path: Path) -> None:
    config = six_steps(tiny_llama, tmp_path)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json", by_alias=True)))
    (tmp_path / "questions.json").write_text('["What is it?"]')
    # Every answer holds an empty one: evaluation needs a question that the base model answers.
    (tmp_path / "general.json").write_text(json.dumps([{"question": "Is it so?", "answer": ""}]))
    identity = {"name": "fox", "paraphrases": "questions.json", "others": "questions.json", "general": "general.json"}
    evaluation = {"name": "eval", "stage": "eval", "run": str(config.out), "identity": identity | {"max_new_tokens": 2}}
    (tmp_path / "eval.yaml").write_text(yaml.safe_dump(evaluation))
    chat = f"chat {config.out} --max-new-tokens 2"
    done = without_vision(tmp_path, "train run.yaml", "eval eval.yaml", chat)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((Path(config.out) / "report.json").read_text())["progress"]["step"] == 6
    assert "identity_hit" in (Path(config.out) / "eval" / "eval.json").read_text()


def test_the_same_process_cannot_open_a_vision_run(tmp_path: Path) -> None:
    """Else the test above would prove nothing."""
    recipe = "name: v\nstage: pretrain\nmodel: {llm: a, tower: b}\ndata: {sources: [{path: x}]}\n"
    (tmp_path / "vision.yaml").write_text(recipe)
    done = without_vision(tmp_path, "train vision.yaml")
    assert done.returncode != 0 and "ModuleNotFoundError: No module named 'vlm.vision" in done.stderr


def test_a_text_run_is_opened_at_its_checkpoint(tiny_llama: Path, tmp_path: Path) -> None:
    run = unfinished(six_steps(tiny_llama, tmp_path))
    saved = read_weights(list_checkpoints(run)[0])
    opened = open_text_model(read_text_run(run)).at_checkpoint(run, list_checkpoints(run)[0].name)
    own = dict(opened.model.named_parameters())
    assert saved and all(torch.equal(own[name], tensor) for name, tensor in saved.items())
    assert not opened.model.training
    fresh = dict(open_text_model(opened.config).model.named_parameters())
    assert not all(torch.equal(fresh[name], tensor) for name, tensor in saved.items())


def test_a_text_run_does_not_start_from_a_vision_run(tiny_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "config.yaml").write_text("name: v\nstage: pretrain\nmodel: {llm: a, tower: b}\n")
    config = six_steps(tiny_llama, tmp_path).model_copy(update={"start": str(tmp_path / "before")})
    with pytest.raises(ConfigError, match="before holds a run of stage pretrain; name the folder of a text run"):
        open_text_model(config)
