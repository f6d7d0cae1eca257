"""The model card of an export: what it is, what it was made from, how far it was proved, how it is used."""

import json
from pathlib import Path
from typing import Any

import yaml

from llm.checkpoint import find_checkpoint, weights_digest
from vlm.config import VlmRunConfig
from vlm.forward import VlmModel
from vlm.run import DTYPES, Opened

SHOWN = ("records", "tokens", "supervised_tokens", "images", "steps", "final_loss", "validation_loss", "train_seconds")
USE = {
    "vision": """```python
from transformers import pipeline

answer = pipeline("image-text-to-text", model="{name}")
content = [{{"type": "image", "url": "picture.png"}}, {{"type": "text", "text": "What is it?"}}]
said = answer(text=[{{"role": "user", "content": content}}], max_new_tokens=64)
print(said[0]["generated_text"][-1]["content"])
```""",
    "text": """```python
from transformers import pipeline

answer = pipeline("text-generation", model="{name}")
print(answer([{{"role": "user", "content": "Who are you?"}}], max_new_tokens=64)[0]["generated_text"][-1]["content"])
```""",
    "peft": """```python
import torch
from peft import PeftModel
from transformers import {auto}

base = {auto}.from_pretrained("{base}", dtype=torch.{dtype})
model = PeftModel.from_pretrained(base, "{name}/adapter")
```""",
    "llava": "`mm_projector.bin` is what LLaVA's training scripts take as `--pretrain_mm_mlp_adapter`.",
}


def write_card(run: Path, checkpoint: str, opened: Opened, out: Path, to: str, dtype: str, difference: float) -> None:
    """Write README.md into the export."""
    config = opened.config
    sees = isinstance(opened.model, VlmModel)
    found = find_checkpoint(run, checkpoint)
    made_of = {"language model": config.model.llm, "stage": config.stage, "trained": _trained(opened)}
    if isinstance(config, VlmRunConfig):
        made_of |= {"vision tower": config.model.tower, "projector": config.model.projector}
    made_of |= {"data": ", ".join(source.path for source in config.data.sources)}
    made_of |= {"checkpoint": f"{found.name}, sha256 {weights_digest(found)[:12]}"}
    proof = {"hf": "its logits", "peft": "its logits", "llava": "the projected rows"}[to]
    lines = [
        "---",
        yaml.safe_dump(_front_matter(config.model.llm, sees, to), sort_keys=False).strip(),
        "---",
        "",
        f"# {config.name}",
        "",
        f"Made with Eyegraft from the run `{run.name}`.",
        "",
        *(f"- {key}: {value}" for key, value in made_of.items()),
        *(f"- {key}: {value}" for key, value in _figures(run).items()),
        "",
        f"Proof: reloaded from this folder ({dtype}), {proof} differ from the trained model's by at most "
        f"{difference:.2e}.",
        "",
        "## Use",
        "",
        _use(opened, sees, out.name, to),
        "",
    ]
    (out / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _front_matter(llm: str, sees: bool, to: str) -> dict[str, Any]:
    matter: dict[str, Any] = {"library_name": "peft" if to == "peft" else "transformers"}
    matter["pipeline_tag"] = "image-text-to-text" if sees else "text-generation"
    if not Path(llm).exists():  # a folder of this machine says nothing to others
        matter["base_model"] = llm
    return matter | {"tags": ["eyegraft", *(["llava"] if sees else [])]}


def _trained(opened: Opened) -> str:
    tune = opened.config.tune
    rank = f", rank {tune.rank}" if tune.kind in ("lora", "qlora") else ""
    return f"{tune.kind}{rank}"


def _figures(run: Path) -> dict[str, Any]:
    """What the run's report says, as far as it goes: an unfinished run has none."""
    report = run / "report.json"
    found = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {}
    return {key.replace("_", " "): found[key] for key in SHOWN if found.get(key) is not None}


def _use(opened: Opened, sees: bool, name: str, to: str) -> str:
    if to == "hf":
        return USE["vision" if sees else "text"].format(name=name)
    auto = "AutoModelForImageTextToText" if sees else "AutoModelForCausalLM"
    own_base = sees or opened.config.start or opened.config.tune.kind == "qlora"
    base = f"{name}/base" if own_base else opened.config.model.llm
    # An adapter answers as trained on weights of the dtype that it was trained on.
    return USE[to].format(name=name, auto=auto, base=base, dtype=str(DTYPES[opened.config.train.dtype])[6:])
