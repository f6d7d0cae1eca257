"""Folders made to break their reader: each is refused with file and key, before it costs time or memory."""

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from llm.chat.chat_model import question
from llm.chat.sampling import Sampling
from llm.encoding.named_templates import JINJA
from llm.errors import ConfigError, EyegraftError, ModelError
from llm.model.pretrained import load_llm, load_tokenizer
from tests.vlm.model.test_vision_model import build
from vlm.config import VlmModelConfig
from vlm.export.hf import export_vlm
from vlm.export.merge import merge
from vlm.model.open_chat_model import open_chat_model
from vlm.vision.projector import build_projector, load_llava_projector
from vlm.vision.towers import load_tower

SOON = 5.0  # seconds; the loaders themselves take a tenth
Break = Callable[[Path], object]


def edit(file: str, part: str = "", **changes: Any) -> Break:
    """Change keys of a JSON file, or of an object in it."""

    def broken(folder: Path) -> None:
        settings = json.loads((folder / file).read_text())
        if part:
            settings[part] |= changes
        else:
            settings |= changes
        (folder / file).write_text(json.dumps(settings))

    return broken


def write(file: str, text: str) -> Break:
    return lambda folder: (folder / file).write_text(text)


def of_other_shapes(folder: Path) -> None:
    for file in folder.glob("*.safetensors"):
        save_file({name: torch.zeros(3, 5) for name in load_file(file)}, file)


CONFIG: dict[str, tuple[Break, str]] = {
    "a list": (write("config.json", "[]"), "config.json holds a list"),
    "null": (write("config.json", "null"), "config.json holds null"),
    "brackets": (write("config.json", "[" * 3000 + "]" * 3000), "is nested more than"),
    "deep objects": (write("config.json", '{"a":' * 500 + "1" + "}" * 500), "is nested more than"),
    "40 MB": (write("config.json", '{"a": "' + "x" * 40_000_000 + '"}'), "config.json.*bytes"),
    "not UTF-8": (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe{}"), "not valid JSON"),
    "unknown type": (edit("config.json", model_type="nonesuch"), "nonesuch"),
    "a number for the type": (edit("config.json", model_type=5), "model_type"),
    "rope in words": (edit("config.json", rope_parameters="x"), "config.json|cannot be loaded"),
    "kernels of the hub": (edit("config.json", attn_implementation="evil/repo"), "attn_implementation.*evil/repo"),
    "weights of other shapes": (of_other_shapes, "do not fit|cannot be loaded|size"),
}
TEXT_CONFIG: dict[str, tuple[Break, str]] = CONFIG | {
    "no heads": (edit("config.json", num_attention_heads=0), "num_attention_heads is 0"),
    "text for a number": (edit("config.json", hidden_size="x"), "hidden_size"),
    "layers": (edit("config.json", num_hidden_layers=10**9), "num_hidden_layers is 1,000,000,000"),
    "layers, a float": (edit("config.json", num_hidden_layers=1e9), "num_hidden_layers is 1,000,000,000"),
    "many layers": (edit("config.json", num_hidden_layers=90_000), "num_hidden_layers 90,000.*more modules"),
    "layers of another kind": (edit("config.json", model_type="qwen2", num_hidden_layers=10**9), "num_hidden_layers"),
    "vocabulary": (edit("config.json", vocab_size=10**12), "vocab_size is 1,000,000,000,000"),
    "wide": (edit("config.json", hidden_size=2**20, intermediate_size=2**20), "1,048,576.*more elements"),
    "experts": (edit("config.json", model_type="mixtral", num_local_experts=10**7), "num_local_experts"),
}


@pytest.mark.parametrize("fault", TEXT_CONFIG)
def test_a_language_model(fault: str, roomy_llm: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(roomy_llm, tmp_path / "model"))
    break_it, message = TEXT_CONFIG[fault]
    break_it(folder)
    refused(lambda: load_llm(str(folder), torch.float32), message)
    refused(lambda: open_chat_model(folder), message)
    if fault not in ("weights of other shapes", "many layers", "40 MB", "wide"):
        refused(lambda: load_llm(str(folder), torch.float32, weights=False), message)


def refused(opened: Callable[[], object], message: str) -> None:
    began = time.perf_counter()
    with pytest.raises(EyegraftError) as raised:
        opened()
    assert time.perf_counter() - began < SOON
    assert re.search(message, str(raised.value)), str(raised.value)


def test_a_plan_builds_no_more_than_the_weights_hold(roomy_llm: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(roomy_llm, tmp_path / "model"))
    edit("config.json", num_hidden_layers=90_000)(folder)
    refused(lambda: load_llm(str(folder), torch.float32, weights=False), "num_hidden_layers 90,000")


TOKENIZER: dict[str, Break] = {
    "empty": write("tokenizer.json", "{}"),
    "cut off": write("tokenizer.json", "["),
    "a bad model": write("tokenizer.json", '{"version":"1.0","model":{"type":"BPE","vocab":{"a":"b"},"merges":[]}}'),
    "settings in a list": write("tokenizer_config.json", "[]"),
    "a number for the class": edit("tokenizer_config.json", tokenizer_class=5),
    "special tokens": edit("tokenizer_config.json", extra_special_tokens=5),
    "config in brackets": write("config.json", "[" * 3000 + "]" * 3000),
    "layers of another kind": edit("config.json", model_type="qwen2", num_hidden_layers=10**9),
}


@pytest.mark.parametrize("fault", TOKENIZER)
def test_a_tokenizer(fault: str, roomy_llm: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(roomy_llm, tmp_path / "model"))
    TOKENIZER[fault](folder)
    refused(lambda: load_tokenizer(str(folder)), re.escape(str(folder)))


@pytest.fixture(scope="module")
def exported(roomy_llm: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA-like folder. Read only."""
    out = tmp_path_factory.mktemp("exported") / "vlm"
    model = build(roomy_llm, clip)
    export_vlm(model, model.tokenizer, JINJA["chatml"], out, torch.float32, (257,))
    return out


VISION_CONFIG: dict[str, tuple[Break, str]] = {
    "a list": CONFIG["a list"],
    "brackets": CONFIG["brackets"],
    "unknown tower": (edit("config.json", "vision_config", model_type="nonesuch"), "nonesuch"),
    "no heads": (
        edit("config.json", "vision_config", num_attention_heads=0),
        r"vision_config\.num_attention_heads is 0",
    ),
    "pixels": (edit("config.json", "vision_config", image_size=10**6, patch_size=1), "image_size 1,000,000|elements"),
    "layers": (edit("config.json", "vision_config", num_hidden_layers=10**9), r"vision_config\.num_hidden_layers"),
    "wide text": (edit("config.json", "text_config", hidden_size=10**8), r"text_config\.hidden_size"),
    "no tower": (edit("config.json", vision_config=None), "cannot be loaded|weights|vision"),
    "image token": (edit("config.json", image_token_index="x", image_token_id="x"), "names no image token"),
    "image token out of range": (edit("config.json", image_token_index=10**6, image_token_id=10**6), "1000000 is none"),
    "processor": (write("processor_config.json", "[]"), "processor_config.json"),
    "processor of no class": (edit("processor_config.json", processor_class=5), "cannot be loaded"),
    "weights of other shapes": CONFIG["weights of other shapes"],
}


@pytest.mark.parametrize("fault", VISION_CONFIG)
def test_a_vision_model(fault: str, exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "model"))
    break_it, message = VISION_CONFIG[fault]
    break_it(folder)
    refused(lambda: open_chat_model(folder), message)


TOWER: dict[str, tuple[Break, str]] = {
    **{name: CONFIG[name] for name in ("a list", "null", "brackets", "weights of other shapes")},
    "no heads": (
        edit("config.json", "vision_config", num_attention_heads=0),
        r"vision_config\.num_attention_heads is 0",
    ),
    "pixels": (edit("config.json", "vision_config", image_size=10**6, patch_size=1), "image_size 1,000,000|elements"),
    "layers": (edit("config.json", "vision_config", num_hidden_layers=10**9), "num_hidden_layers"),
    "preprocessor": (write("preprocessor_config.json", "[]"), "preprocessor_config.json"),
    "means": (edit("preprocessor_config.json", image_mean=5), "cannot be loaded"),
}


@pytest.mark.parametrize("fault", TOWER)
def test_a_tower(fault: str, clip: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(clip, tmp_path / "model"))
    break_it, message = TOWER[fault]
    break_it(folder)
    refused(lambda: load_tower(str(folder)), message)


# Adapters -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def adapter(roomy_llm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter of the text model. Read only."""
    out = tmp_path_factory.mktemp("adapters") / "lora"
    base = AutoModelForCausalLM.from_pretrained(roomy_llm, dtype=torch.float32)
    config = LoraConfig(r=4, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(base, config).save_pretrained(str(out))
    return out


SETTINGS = "adapter_config.json"
ENDLESS = "(a|a)*" * 20 + "b"
ADAPTER: dict[str, tuple[Break, str]] = {
    "a list": (write(SETTINGS, "[]"), "adapter_config.json holds a list"),
    "brackets": (write(SETTINGS, "[" * 3000 + "]" * 3000), "is nested more than"),
    "empty": (write(SETTINGS, "{}"), "peft_type is 'nothing'"),
    "another kind": (edit(SETTINGS, peft_type="XLORA"), "only LORA"),
    "no targets": (edit(SETTINGS, target_modules=None), "target_modules is missing"),
    "endless targets": (edit(SETTINGS, target_modules=r"(\w+\.?)*(\w+\.?)*(\w+\.?)*!"), "no module of the model"),
    "unknown pattern": (edit(SETTINGS, target_modules=r"(.)\1"), "target_modules is a pattern"),
    "endless modules": (edit(SETTINGS, modules_to_save=[ENDLESS]), "modules_to_save.*no plain module name"),
    "endless ranks": (edit(SETTINGS, rank_pattern={ENDLESS: 4}), "rank_pattern.*no plain module name"),
    "endless layers": (edit(SETTINGS, layers_pattern=ENDLESS), "layers_pattern.*no plain module name"),
    "names that are numbers": (edit(SETTINGS, modules_to_save=[5]), "modules_to_save"),
    "rank 0": (edit(SETTINGS, r=0), "r is 0"),
    "a large rank": (edit(SETTINGS, r=10**9), "r is 1,000,000,000"),
    "another rank": (edit(SETTINGS, r=2), "size mismatch|does not fit|cannot be loaded onto"),
    "alpha in words": (edit(SETTINGS, lora_alpha="x"), "does not fit|be loaded onto"),
    "copies": (edit(SETTINGS, layer_replication=[[0, 10**9]]), "layer_replication"),
    "modules to import": (edit(SETTINGS, megatron_config={"a": 1}, megatron_core="megatron.evil"), "megatron_config"),
    "other shapes": (of_other_shapes, "size mismatch|does not fit|cannot be loaded onto|ranks up to"),
    "no weights": (
        lambda folder: (folder / "adapter_model.safetensors").unlink(),
        "does not fit|be loaded onto",
    ),
}


@pytest.mark.parametrize("fault", ADAPTER)
def test_an_adapter(fault: str, roomy_llm: Path, adapter: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(adapter, tmp_path / "lora"))
    break_it, message = ADAPTER[fault]
    break_it(folder)
    refused(lambda: merge(str(roomy_llm), folder, tmp_path / "out"), message)
    refused(lambda: open_chat_model(roomy_llm, adapter=str(folder)), message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "targets", [r".*\.(q_proj|up_proj)", r"(?!.*vision).*(?:self_attn|mlp)\.(?:q_proj|up_proj)$", ["q_proj", "up_proj"]]
)
def test_an_honest_pattern_means_what_peft_means(
    targets: object, roomy_llm: Path, adapter: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(adapter, tmp_path / "lora"))
    edit(SETTINGS, target_modules=targets)(folder)
    assert merge(str(roomy_llm), folder, tmp_path / "out", "fp32") <= 1e-4
    merged, plain = (load_file(path / "model.safetensors") for path in (tmp_path / "out", roomy_llm))
    moved = {name.rpartition(".")[0].rpartition(".")[2] for name in plain if not torch.equal(plain[name], merged[name])}
    assert moved == {"q_proj", "up_proj"}


# The rest -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [[1, 2], {"mm_projector.weight": 5}, torch.zeros(3), {1: torch.zeros(3)}])
def test_a_projector_file_that_holds_something_else(content: object, tmp_path: Path) -> None:
    config = VlmModelConfig(llm="x", tower="y", projector="linear", standardise=False)
    torch.save(content, tmp_path / "mm_projector.bin")
    with pytest.raises(ModelError, match=r"mm_projector\.bin"):
        load_llava_projector(build_projector(config, 8, 16), tmp_path / "mm_projector.bin")


def test_a_temperature_too_small_to_divide_by_is_greedy(roomy_llm: Path) -> None:
    chat_model, asked = open_chat_model(roomy_llm), question("hi")
    head: Any = chat_model.model.get_output_embeddings()
    with torch.no_grad():
        head.weight.mul_(1e4)
    greedy = chat_model.answer(asked, Sampling(max_new_tokens=4))
    assert greedy
    for temperature in (1e-300, 1e-40, 1e-9):
        assert chat_model.answer(asked, Sampling(temperature, max_new_tokens=4)) == greedy


@pytest.mark.parametrize("temperature", [-1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_none(temperature: float) -> None:
    with pytest.raises(ConfigError, match="temperature"):
        Sampling(temperature)
