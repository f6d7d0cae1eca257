"""The commands at the end of an export."""

import shlex
from pathlib import Path

import pytest

from vlm.export.formats import ExportFormat
from vlm.export.next_commands import next_commands


@pytest.mark.parametrize("sees", [False, True])
@pytest.mark.parametrize("to", ["hf", "peft", "gguf", "ollama", "llava"])
def test_they_are_commands_of_a_shell_that_name_the_folder(to: ExportFormat, sees: bool) -> None:
    """Also a folder with blanks and quotes: the shell splits them so that Python's part compiles."""
    out = Path('my exports/it\'s "mine"')
    for command in next_commands(to, out, sees):
        words = shlex.split(command)
        if words[:2] == ["python", "-c"]:
            compile(words[2], "next", "exec")
        assert any(str(out) in word or out.name.lower() in word or "mine" in word for word in words)


def test_what_they_load() -> None:
    assert next_commands("hf", Path("out"), False) == (
        'python -c \'from transformers import pipeline; print(pipeline("text-generation", model="out")([{"role": '
        '"user", "content": "Who are you?"}], max_new_tokens=64))\'',
        "eyegraft serve out",
    )
    assert next_commands("gguf", Path("out"), True)[1] == (
        "llama-server -m out/model.gguf --mmproj out/mmproj.gguf --jinja"
    )
