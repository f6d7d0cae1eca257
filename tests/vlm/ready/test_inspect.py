"""`eyegraft inspect`: what it prints, and what it says of folders that it cannot open."""

import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import SmolVLMVideoProcessor

from llm.errors import ModelError
from vlm.app import cli
from vlm.ready.ready_model import open_ready
from vlm.ready.report import inspect_folder

Family = Callable[[str], Path]


def edited(source: Path, folder: Path, name: str, **keys: object) -> Path:
    """A copy of a folder with keys of one JSON file set."""
    shutil.copytree(source, folder)
    file = folder / name
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))
    return folder


def test_the_lines_say_what_a_model_can_do(
    family: Family, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["eyegraft", "inspect", str(family("gemma3"))])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    shown = {name: text.strip() for name, text in lines.items()}
    assert shown["model"].startswith("Gemma3ForConditionalGeneration with 68,672 parameters")
    assert shown["not spans"].startswith("the logits differ by ")
    assert shown["packs records"].startswith("yes, with its own mask for each record: within ")
    assert shown["shares prefixes"] == "no: it does not attend causally here"
    assert shown["caches features"] == "yes: an image has the same features alone and beside others"
    assert shown["counts tokens"] == "from the size of an image alone"


def test_what_differs_between_families(family: Family) -> None:
    lines = "\n".join(inspect_folder(str(family("llava_onevision"))))
    assert "yes, with causal attention: within " in lines
    assert "no: an image has other features beside others" in lines
    assert "from the size for one image, by its processor for several" in lines
    assert "its own for images" in "\n".join(inspect_folder(str(family("qwen2_5_vl"))))


@pytest.mark.parametrize("name", ["llava_onevision", "gemma3", "idefics3"])
def test_every_line_is_there_in_chinese(
    name: str, family: Family, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EYEGRAFT_LANG", "zh")
    monkeypatch.setattr(sys, "argv", ["eyegraft", "inspect", str(family(name))])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    shown = capsys.readouterr().out
    for line in shown.splitlines():
        assert any("\u4e00" <= character <= "\u9fff" for character in line), line
    assert "一致" in shown or "相差" in shown


def test_a_language_model_is_no_vlm(tiny_llm: Path) -> None:
    with pytest.raises(ModelError, match="a llama model is none that answers to images and text"):
        open_ready(str(tiny_llm))


def test_an_archive_in_place_of_a_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ModelError, match=r"model\.zip: an archive, not a model folder\. Unpack it"):
        open_ready(str(tmp_path / "model.zip"))
    (tmp_path / "model.bin").write_bytes(b"weights")
    with pytest.raises(ModelError, match=r"model\.bin: a file, not a model folder\. Give the folder it is in"):
        open_ready(str(tmp_path / "model.bin"))


def test_a_processor_that_needs_a_package(family: Family, tmp_path: Path) -> None:
    """SmolVLM's processor needs num2words, which is not installed here."""
    folder = edited(
        family("idefics3"), tmp_path / "smolvlm", "processor_config.json", processor_class="SmolVLMProcessor"
    )
    SmolVLMVideoProcessor().save_pretrained(folder)
    with pytest.raises(ModelError, match="its processor cannot be loaded: .*num2words"):
        open_ready(str(folder))


def test_a_processor_without_a_chat_template(family: Family, tmp_path: Path) -> None:
    folder = shutil.copytree(family("llava"), tmp_path / "bare")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="its processor has no chat template"):
        inspect_folder(str(folder))


def test_a_folder_without_its_weights(family: Family, tmp_path: Path) -> None:
    folder = shutil.copytree(family("llava"), tmp_path / "empty", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(ModelError, match="no weights in it"):
        open_ready(str(folder))


def test_weights_that_do_not_fit_into_memory(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    from llm.train.process_memory import FreeMemory

    monkeypatch.setattr("vlm.ready.ready_model.free_memory", lambda: FreeMemory(1000))
    with pytest.raises(ModelError, match=r"its weights take about \d\.\d GiB in float32, and 0\.0 GiB are free here"):
        open_ready(str(family("llava")))
