"""The model card of an export: what it was made from, how it was checked, how to use it."""

import os
from pathlib import Path
from typing import Any

import yaml

from llm.files.folder_replacement import MADE_FROM
from llm.files.saved_checkpoints import find_checkpoint, weights_digest
from llm.hubs.reference import model_reference
from llm.model.precision import dtype_of
from llm.train.report import read_report
from vlm.config import ReadyRunConfig, VlmRunConfig
from vlm.export.adapter_base import needs_own_base
from vlm.model.adapter_folder import BASE
from vlm.model.forward import VlmModel
from vlm.model.runs import OpenedRun
from vlm.ready.forward import ReadyModule

SHOWN = ("records", "tokens", "supervised_tokens", "images", "steps", "final_loss", "validation_loss", "train_seconds")
USE = {
    "vision": """```python
from transformers import pipeline

answer = pipeline("image-text-to-text", model="{name}")
content = [{{"type": "image", "url": "image.png"}}, {{"type": "text", "text": "What is it?"}}]
messages = answer(text=[{{"role": "user", "content": content}}], max_new_tokens=64)
print(messages[0]["generated_text"][-1]["content"])
```""",
    "text": """```python
from transformers import pipeline

answer = pipeline("text-generation", model="{name}")
print(answer([{{"role": "user", "content": "Who are you?"}}], max_new_tokens=64)[0]["generated_text"][-1]["content"])
```""",
    "peft": """```python
import torch
from peft import PeftModel
from transformers import {auto}, {inputs}, GenerationConfig

base = {auto}.from_pretrained("{base}", dtype=torch.{dtype})
model = PeftModel.from_pretrained(base, "{name}/adapter")
model.generation_config = GenerationConfig.from_pretrained("{name}/adapter")  # where its answers end
{variable} = {inputs}.from_pretrained("{name}/adapter")
```""",
    "llava": "`mm_projector.bin` is what LLaVA's training scripts take as `--pretrain_mm_mlp_adapter`.",
    "gguf": "```sh\nllama-server -m {name}/model.gguf{mmproj} --jinja\n```{note}",
    "ollama": "```sh\ncd {name} && ollama create {model} -f Modelfile && ollama run {model}\n```{note}",
}
LIBRARIES = {"peft": "peft", "gguf": "llama.cpp", "ollama": "llama.cpp"}
_RELOADED = "reloaded from this folder ({dtype}), {what} differ from the trained model's by at most {difference:.2e}"
_CHATTED = (
    "in chats with llama.cpp ({dtype}), {what} differ from the trained model's by {difference:.2e} on average in the "
    "chat where they differ most"
)
PROOFS = {
    "hf": (_RELOADED, "its logits"),
    "peft": (_RELOADED, "its logits"),
    "llava": (_RELOADED, "image embeddings"),
    "gguf": (_CHATTED, "the log-probabilities of likely tokens"),
    "ollama": (_CHATTED, "the log-probabilities of likely tokens"),
}
IMAGE_SIZE = """

An image of {size} x {size} pixels is processed exactly as in training. llama.cpp resizes others itself: with less
smoothing than Pillow, and with a grey margin around images that are not square."""


def proof(to: str, dtype: str, difference: float) -> str:
    """A sentence on what was compared and by how much it differs."""
    sentence, what = PROOFS[to]
    return sentence.format(dtype=dtype, what=what, difference=difference)


def write_card(
    run: Path, checkpoint: str, opened: OpenedRun, folder: Path, name: str, to: str, proved: str, base: str
) -> None:
    """Write README.md into an export's folder, which will be named `name`; `proved` is the sentence of `proof`.

    `base` is the base's name in an adapter.
    """
    config = opened.config
    sees = isinstance(opened.model, VlmModel | ReadyModule)
    found = find_checkpoint(run, checkpoint)
    kind = "model" if isinstance(config, ReadyRunConfig) else "language model"
    made_of = {kind: _public(config.model.llm), "stage": config.stage, "trained": _trained(opened)}
    if isinstance(config, VlmRunConfig):
        made_of |= {"vision tower": _public(config.model.tower), "projector": config.model.projector}
    made_of |= {"data": ", ".join(_public(source.path) for source in config.data.sources)}
    made_of |= {"checkpoint": f"{found.name}, sha256 {weights_digest(found)[:12]}"}
    front = _front_matter(config.model.llm, sees, to, isinstance(opened.model, VlmModel))
    lines = [
        "---",
        yaml.safe_dump(front, sort_keys=False).strip(),
        "---",
        "",
        f"# {config.name}",
        "",
        f"{MADE_FROM}{run.name}`.",
        "",
        *(f"- {key}: {value}" for key, value in made_of.items()),
        *(f"- {key}: {value}" for key, value in _figures(run).items()),
        "",
        f"Proof: {proved}.",
        "",
        "## Use",
        "",
        _use(opened, sees, name, to, base),
        "",
    ]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _public(path: str) -> str:
    """An absolute path without its folders, which show others how this machine is laid out; any other as it is."""
    return Path(path).name if os.path.isabs(path) else path


def _front_matter(llm: str, sees: bool, to: str, is_llava: bool) -> dict[str, Any]:
    matter: dict[str, Any] = {"library_name": LIBRARIES.get(to, "transformers")}
    matter["pipeline_tag"] = "image-text-to-text" if sees else "text-generation"
    reference = None if Path(llm).exists() else model_reference(llm)
    if reference is not None:  # a local folder means nothing to others
        matter["base_model"] = reference.repository
    return matter | {"tags": ["eyegraft", *(["llava"] if is_llava else [])]}


def _trained(opened: OpenedRun) -> str:
    tune = opened.config.tune
    rank = f", rank {tune.rank}" if tune.kind in ("lora", "qlora") else ""
    return f"{tune.kind}{rank}"


def _figures(run: Path) -> dict[str, Any]:
    """Figures of the run's report; none for an unfinished run."""
    found = read_report(run) or {}
    return {key.replace("_", " "): found[key] for key in SHOWN if found.get(key) is not None}


def _use(opened: OpenedRun, sees: bool, name: str, to: str, base: str) -> str:
    if to == "hf":
        return USE["vision" if sees else "text"].format(name=name)
    if to in ("gguf", "ollama"):
        note = IMAGE_SIZE.format(size=opened.model.vision.preprocess.size) if isinstance(opened.model, VlmModel) else ""
        mmproj = f" --mmproj {name}/mmproj.gguf" if sees else ""
        return USE[to].format(name=name, model=opened.config.name, mmproj=mmproj, note=note)
    auto = "AutoModelForImageTextToText" if sees else "AutoModelForCausalLM"
    beside = needs_own_base(opened) and os.path.isabs(base)
    values = {
        "base": f"{name}/{BASE}" if beside else base,
        "inputs": "AutoProcessor" if sees else "AutoTokenizer",
        "variable": "processor" if sees else "tokenizer",
        # An adapter gives its trained answers on weights of the dtype it was trained on.
        "dtype": str(dtype_of(opened.config))[6:],
    }
    return USE[to].format(name=name, auto=auto, **values)
