"""A folder's own code is never run, and no prompt asks about it, however the folder is opened."""

import ast
import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

from demo.api.serve import open_models
from llm.encoding.named_templates import JINJA
from llm.errors import ModelError
from llm.model.pretrained import load_llm, load_tokenizer
from tests.vlm.conftest import TEXT, VISION, save_llm
from tests.vlm.model.test_vision_model import build
from vlm.export.hf import export_vlm
from vlm.export.merge import merge
from vlm.model.open_chat_model import open_chat_model
from vlm.model.record_encoder import encoder_of_folder

ROOT = Path(__file__).resolve().parent.parent
DOOR = "llm/model/hf_loaders.py"
LOADERS = {"from_pretrained", "from_config", "get_image_processor_config"}
# Loaders that know no code: settings of generation, and adapters, whose config is judged by llm/model/adapter_files.py.
CODELESS = {"GenerationConfig", "PeftModel", "get_image_processor_config"}
CODE = "from pathlib import Path\nPath({canary!r}).write_text('run')\nC = M = T = P = I = object\n"


def loader_calls(source: str) -> list[tuple[str, dict[str, object]]]:
    """Each call of a loader: whose it is, and the constants among its named arguments."""
    found: list[tuple[str, dict[str, object]]] = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in LOADERS:
            owner = ast.unparse(node.func).removesuffix(f".{name}")
            said: dict[str, object] = {
                str(word.arg): word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)
            }
            found.append((owner, said))
    return found


def test_every_loader_is_called_in_one_module() -> None:
    packages = ("llm", "vlm", "data_tools", "demo", "benchmarks")
    files = {path.relative_to(ROOT).as_posix(): path for package in packages for path in (ROOT / package).rglob("*.py")}
    calls = {file: loader_calls(path.read_text(encoding="utf-8")) for file, path in files.items()}
    assert {file for file, found in calls.items() if found} == {DOOR}
    assert len(calls[DOOR]) >= 8
    lax = [owner for owner, said in calls[DOOR] if owner not in CODELESS and said.get("trust_remote_code") is not False]
    assert lax == []


@pytest.mark.parametrize(
    ("source", "owner"),
    [("AutoModel.from_pretrained(folder)", "AutoModel"), ("kind().from_config(config)", "kind()")],
)
def test_a_loader_elsewhere_is_seen(source: str, owner: str) -> None:
    assert loader_calls(source) == [(owner, {})]


# Folders with code ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text and a LLaVA-like model. Read only."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    root = tmp_path_factory.mktemp("coded")
    llm = save_llm(root / "text", 300, tied=False)
    CLIPModel(CLIPConfig(vision_config=VISION, text_config=TEXT)).save_pretrained(root / "clip")
    CLIPImageProcessor(crop_size={"height": 32, "width": 32}).save_pretrained(root / "clip")
    model = build(llm, root / "clip")
    export_vlm(model, model.tokenizer, JINJA["chatml"], root / "vision", torch.float32, (257,))
    return root


def with_code(models: Path, kind: str, tmp_path: Path) -> Path:
    """A copy of a model with code beside it that leaves a canary where it is imported."""
    folder = Path(shutil.copytree(models / kind, tmp_path / kind))
    (folder / "code.py").write_text(CODE.format(canary=str(tmp_path / "canary")))
    return folder


def edit(file: Path, **changes: Any) -> None:
    settings = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(settings | changes))


def own_model(folder: Path) -> None:
    code = dict.fromkeys(("AutoModelForCausalLM", "AutoModelForImageTextToText"), "code.M")
    edit(folder / "config.json", model_type="nonesuch", auto_map={"AutoConfig": "code.C"} | code)


def own_tokenizer(folder: Path) -> None:
    edit(folder / "config.json", model_type="nonesuch")
    edit(folder / "tokenizer_config.json", tokenizer_class="NoneSuch", auto_map={"AutoTokenizer": ["code.T", None]})


def own_part(folder: Path) -> None:
    """transformers has the part's config, but no model for it: the assembled class would ask for the part's code."""
    kind = next(kind for kind in CONFIG_MAPPING if kind not in MODEL_MAPPING_NAMES)
    part = {"model_type": kind, "auto_map": {"AutoModel": f"{folder}--code.M"}, "_name_or_path": str(folder)}
    edit(folder / "config.json", vision_config=part)


def adapter_of_own_model(folder: Path) -> None:
    """transformers opens the base that an adapter names, in the place of the folder it lies in."""
    evil = Path(shutil.copytree(folder, folder.with_name("evil")))
    own_model(evil)
    edit(folder / "adapter_config.json", base_model_name_or_path=str(evil), peft_type="LORA", target_modules=["x"])


def own_generation(folder: Path) -> None:
    (folder / "custom_generate").mkdir()
    shutil.copy(folder / "code.py", folder / "custom_generate" / "generate.py")


def merged(folder: Path) -> object:
    """`eyegraft merge` of an adapter that names a module of every Llama."""
    adapter = folder.with_name("adapter")
    adapter.mkdir()
    edit(adapter / "adapter_config.json", peft_type="LORA", target_modules=["q_proj"], r=2)
    return merge(str(folder), adapter, folder.with_name("out"))


Open = Callable[[Path], object]
WAYS: dict[str, tuple[str, Callable[[Path], None], Open, str]] = {
    "text": ("text", own_model, lambda folder: load_llm(str(folder), torch.float32), "config.json.*AutoConfig"),
    "tokenizer": ("text", own_tokenizer, lambda folder: load_tokenizer(str(folder)), "tokenizer_config.*code.T"),
    "chat, text": ("text", own_model, open_chat_model, "config.json.*code"),
    "chat, vision": ("vision", own_model, open_chat_model, "config.json.*code"),
    "chat, a part": ("vision", own_part, open_chat_model, r"vision_config\.auto_map.*code.M"),
    "chat, an adapter": ("vision", adapter_of_own_model, open_chat_model, "adapter"),
    "chat, generation": ("text", own_generation, open_chat_model, "generate.py"),
    "serve": ("vision", own_model, lambda folder: open_models([str(folder)], "latest"), "config.json"),
    "rows": ("vision", own_model, lambda folder: encoder_of_folder(str(folder)), "config.json.*code"),
    "merge, text": ("text", own_model, merged, "config.json.*code"),
    "merge, vision": ("vision", own_model, merged, "config.json.*code"),
}


@pytest.mark.parametrize("way", WAYS)
def test_code_is_never_run_and_no_prompt_is_shown(
    models: Path, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, give_code, opened, message = WAYS[way]
    folder = with_code(models, kind, tmp_path)
    give_code(folder)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 100))
    with pytest.raises(ModelError, match=message):
        opened(folder)
    assert not (tmp_path / "canary").exists()
    assert sys.stdin.tell() == 0 and "y/N" not in capsys.readouterr().out


def test_a_processor_that_needs_code_is_named(models: Path, tmp_path: Path) -> None:
    from llm.model.hf_loaders import load_processor

    folder = with_code(models, "vision", tmp_path)
    (folder / "config.json").unlink()
    edit(folder / "processor_config.json", processor_class="NoneSuch", auto_map={"AutoProcessor": "code.P"})
    with pytest.raises(ModelError, match=r"processor_config\.json.*code\.P"):
        load_processor(folder)
    assert not (tmp_path / "canary").exists()


def test_code_that_is_not_needed_is_not_looked_at(models: Path, tmp_path: Path) -> None:
    """As InternLM2, Phi-3 and Falcon have it: transformers has the class by now."""
    folder = with_code(models, "text", tmp_path)
    edit(folder / "config.json", auto_map={"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"})
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["code.T", None]})
    chat_model = open_chat_model(folder)
    assert type(chat_model.model).__name__ == "LlamaForCausalLM"
    assert not (tmp_path / "canary").exists()
    assert "auto_map" not in chat_model.model.config.to_dict()
