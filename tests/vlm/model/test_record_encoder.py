"""Encoders made without weights equal those of opened models."""

import shutil
from pathlib import Path

import pytest

from llm.errors import ModelError
from tests.vlm.export.test_hf import export, trained
from tests.vlm.runs import recipe
from vlm.config import VlmRunConfig
from vlm.model.record_encoder import encoder_of_folder, encoder_of_run
from vlm.model.runs import open_model


def bare(folder: Path, out: Path) -> Path:
    """A copy without weights."""
    shutil.copytree(folder, out, ignore=shutil.ignore_patterns("*.safetensors"))
    return out


@pytest.mark.parametrize("tower", ["clip", "cnn"])
def test_a_recipes_encoder_needs_no_weights(
    tower: str, roomy_llm: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    eyes: Path = request.getfixturevalue(tower)
    whole = recipe(roomy_llm, eyes, tmp_path / "none.json", tmp_path / "run", "finetune")
    expected = open_model(whole).encoder
    # A timm folder is recognised by its config alone.
    copies = {"llm": str(bare(roomy_llm, tmp_path / "llm")), "tower": str(bare(eyes, tmp_path / "eyes"))}
    config: VlmRunConfig = whole.model_copy(update={"model": whole.model.model_copy(update=copies)})
    found = encoder_of_run(config)
    assert found.fingerprint() == expected.fingerprint()
    assert found.image_tokens == expected.image_tokens > 1
    assert encoder_of_run(config, 7).image_tokens == 7


@pytest.mark.parametrize("tower", ["clip", "cnn"])
def test_an_exported_folders_encoder_needs_no_weights(
    tower: str, roomy_llm: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model = trained(roomy_llm, request.getfixturevalue(tower))
    export(model, tmp_path / "out")
    found = encoder_of_folder(str(bare(tmp_path / "out", tmp_path / "bare")))
    assert (found.image_id, found.image_tokens) == (model.image_id, model.image_tokens) and model.image_tokens > 1


def test_a_text_folder_takes_images_only_with_given_image_tokens(roomy_llm: Path, tmp_path: Path) -> None:
    folder = str(bare(roomy_llm, tmp_path / "llm"))
    assert encoder_of_folder(folder, "chatml").image_id is None
    with_rows = encoder_of_folder(folder, "chatml", 9)
    assert with_rows.image_tokens == 9 and with_rows.tokenizer.convert_ids_to_tokens(with_rows.image_id) == "<image>"
    with pytest.raises(ModelError, match="no such folder"):
        encoder_of_folder(str(tmp_path / "none"))
