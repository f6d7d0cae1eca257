"""The model library: which models are listed, and how they are loaded and answer."""

import json
import os
import time
from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from demo.model_library import ModelLibrary, ModelWeights
from llm.chat.chat_model import question
from llm.chat.sampling import Sampling
from llm.errors import ConfigError
from llm.formats.conversation import ImageRef, Message
from tests.demo.conftest import noise_image
from vlm.model.open_chat_model import open_chat_model
from vlm.scores.model_boxes import ModelBoxes

GREEDY = Sampling(max_new_tokens=12)

ON, OFF = "banana", "banana, adapters off"


def test_without_its_adapter_a_model_answers_as_its_base(library: ModelLibrary, bananas: Path) -> None:
    """Token for token the answer of the model whose adapter was never trained."""
    from vlm.model.runs import open_run

    untuned = open_run(bananas / "runs" / "banana", base=True)
    tuned = open_run(bananas / "runs" / "banana")
    with_projector = dict(tuned.model.named_parameters()) | dict(tuned.model.named_buffers())
    own = dict(untuned.model.named_parameters()) | dict(untuned.model.named_buffers())
    for name, tensor in own.items():
        if ".projector." in f".{name}" or "multi_modal_projector" in name:
            tensor.data.copy_(with_projector[name])
    for images in ((), (ImageRef(data=noise_image(5)),)):
        asked = (Message("user", (*images, "Who are you?")),)
        assert library[OFF].answer(asked, GREEDY) == untuned.chat_model.answer(asked, GREEDY)
    assert library[ON].answer(question("Who are you?"), GREEDY) == "BANANA", "the adapter is on again afterwards"


def test_the_library_lists_every_checkpoint_with_and_without_adapters(
    library: ModelLibrary, bananas: Path, roomy_llm: Path
) -> None:
    steps = sorted(folder.name for folder in (bananas / "runs/banana/checkpoints").glob("step-*"))
    older = f"banana @ {steps[0]}"
    assert list(library) == [str(roomy_llm), ON, older, OFF, f"{older}, adapters off", f"{roomy_llm} (base)"]
    expected = ModelWeights(bananas / "runs/banana", steps[0], sees_images=True, origins=library.weights[ON].origins)
    assert library.weights[older] == expected and roomy_llm in expected.origins
    described = {library.weights[name].describe() for name in library}
    assert len(described) == len(library) - 1, "the base and the named model are the same; all others differ"
    with pytest.raises(ConfigError, match="neither a run with a checkpoint nor a model folder"):
        ModelLibrary(bananas / "runs", [str(bananas)])


def test_adapters_are_listed_as_one_model_each(tmp_path: Path, roomy_llm: Path) -> None:
    """peft's own folders, also inside another, and what `export --to peft` writes; not the parts of a run."""
    for folder in ("peft", "peft/checkpoint-5", "ours/adapter", "run/checkpoints/step-1"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(roomy_llm)}))
    (tmp_path / "ours/base").mkdir()
    (tmp_path / "ours/base/config.json").write_text('{"vision_config": {}}')
    (tmp_path / "run/config.yaml").write_text("name: run\n")
    found = ModelLibrary(tmp_path)
    assert {name: weights.sees_images for name, weights in found.weights.items()} == {
        "peft": False, "peft/checkpoint-5": False, "ours": True,
    }  # fmt: skip
    assert all("written" in weights.describe() for weights in found.weights.values())
    assert list(ModelLibrary(tmp_path / "none", [str(tmp_path / "peft")])) == [str(tmp_path / "peft")]


def test_an_adapter_answers_on_its_base(tmp_path: Path, roomy_llm: Path) -> None:
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(roomy_llm), LoraConfig(target_modules=["q_proj"]))
    model.save_pretrained(tmp_path / "peft")
    assert ModelLibrary(tmp_path)["peft"].answer(question("Who are you?"), GREEDY) == open_chat_model(roomy_llm).answer(
        question("Who are you?"), GREEDY
    )


def test_one_model_in_memory_answers_with_and_without_adapters(library: ModelLibrary) -> None:
    assert library[ON].model is library[OFF].model
    assert len(library._opened._open) <= 2


def test_retrained_weights_are_loaded_again(library: ModelLibrary, roomy_llm: Path) -> None:
    name = str(roomy_llm)
    before = library[name]
    assert library[name].model is before.model
    config = roomy_llm / "config.json"
    os.utime(config, (time.time() + 5, time.time() + 5))
    assert library[name].model is not before.model


def test_a_run_with_an_unknown_recipe_key_is_skipped(library: ModelLibrary, bananas: Path) -> None:
    old = bananas / "runs" / "old"
    old.mkdir()
    (old / "config.yaml").write_text("name: old\nstage: sft\nno_such_key: 1\n")
    assert ON in library.refresh() and not any(name.startswith("old") for name in library)
    (old / "config.yaml").unlink()
    old.rmdir()


def test_how_a_model_writes_boxes_is_known_before_it_is_opened(tmp_path: Path) -> None:
    """Of a folder by its type, of the base of an adapter, and of no model that is not listed."""
    folder = tmp_path / "qwen"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3_vl", "vision_config": {}}))
    found = ModelLibrary(tmp_path / "none", (str(folder),), tmp_path)
    [name] = found.weights
    assert found.boxes(name) == ModelBoxes("thousand")
    assert found.boxes(None) == found.boxes("another") == ModelBoxes()
    (folder / "config.json").unlink()
    assert found.boxes(name) == ModelBoxes()
