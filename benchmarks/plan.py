"""`eyegraft plan` against real runs: `python -m benchmarks.plan [--forecast] [NAME ...]`, minutes a shape on one core.

Each shape is a recipe whose packs are full, as the forecast assumes. It is trained for a few steps in a process of its
own, whose peak resident memory (VmHWM, which includes libraries) is compared with the forecast. Results:
benchmarks/results/plan.json. Shapes that are named, without names all, are measured again; with --forecast the stored
measurements are compared with new forecasts.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from llm.train.process_memory import resident_peak_gib

SMOLLM2 = Path("assets/smollm2").absolute()  # 135 million parameters, fp32 on disk, real weights
IMAGES = Path("assets/easy_vqa").absolute()
RESULTS = Path("benchmarks/results/plan.json")
STEPS = 2  # the first allocates the moments, the second begins with them
PACKS = 2  # per step
# Each is one token of SmolLM2's vocabulary after a space.
WORDS = "time year people way day man thing woman life child world school state family student group country problem"
WIDE = {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 12, "num_attention_heads": 16}
SLIM = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8, "num_attention_heads": 8}
VIT_B: dict[str, Any] = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
VIT_S: dict[str, Any] = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 12}


@dataclass(frozen=True, slots=True)
class Shape:
    """A recipe's sections and the random models that it trains."""

    title: str
    stage: str
    length: int  # tokens of a record
    sections: dict[str, dict[str, Any]]
    llm: dict[str, Any] = field(default_factory=dict)  # empty: SmolLM2
    tower: dict[str, Any] = field(default_factory=dict)


SHAPES = {
    "process": Shape(
        "text, a model of 3 M: the memory of the process itself",
        "sft",
        64,
        {"tune": {"kind": "lora", "rank": 4}, "train": {"pack_tokens": 64}},
        llm={"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2},
    ),
    "text-full-fp32": Shape(
        "text, full, fp32", "sft", 256, {"tune": {"kind": "full"}, "train": {"pack_tokens": 512, "dtype": "fp32"}}
    ),
    "text-full-8bit": Shape(
        "text, full, bf16, adamw8bit",
        "sft",
        256,
        {"tune": {"kind": "full"}, "train": {"pack_tokens": 512}, "optim": {"name": "adamw8bit"}},
    ),
    "text-lora": Shape(
        "text, LoRA 16, bf16", "sft", 512, {"tune": {"kind": "lora", "rank": 16}, "train": {"pack_tokens": 1024}}
    ),
    "text-lora-dropout": Shape(
        "text, LoRA 64 with dropout, bf16",
        "sft",
        512,
        {"tune": {"kind": "lora", "rank": 64, "dropout": 0.05}, "train": {"pack_tokens": 512}},
    ),
    "text-lora-recompute": Shape(
        "text, LoRA 16, bf16, recompute",
        "sft",
        512,
        {"tune": {"kind": "lora", "rank": 16}, "train": {"pack_tokens": 2048, "recompute": True}},
    ),
    "text-qlora": Shape(
        "text, QLoRA 64, bf16, random Llama of 192 M",
        "sft",
        512,
        {"tune": {"kind": "qlora", "rank": 64}, "train": {"pack_tokens": 1024}},
        llm={**WIDE, "num_key_value_heads": 8},
    ),
    "vision-pretrain": Shape(
        "vision, pretrain, bf16, random ViT-B/16 and Llama of 192 M",
        "pretrain",
        320,
        {"train": {"pack_tokens": 1280}},
        llm={**WIDE, "num_key_value_heads": 8},
        tower={**VIT_B, "patch_size": 16},
    ),
    "vision-finetune": Shape(
        "vision, finetune, LoRA on LLM and tower, bf16, random ViT-S/16",
        "finetune",
        320,
        {"tune": {"kind": "lora", "rank": 16, "tower": "lora"}, "train": {"pack_tokens": 640}},
        tower={**VIT_S, "patch_size": 16, "num_attention_heads": 6},
    ),
    "vision-full": Shape(
        "vision, finetune, full LLM and tower, fp32, random ViT-S/16 and Llama of 51 M",
        "finetune",
        320,
        {"tune": {"kind": "full", "tower": "full"}, "train": {"pack_tokens": 1280, "dtype": "fp32"}},
        llm={**SLIM, "num_key_value_heads": 8},
        tower={**VIT_S, "patch_size": 16, "num_attention_heads": 6},
    ),
}


def main() -> None:
    """Measure the named shapes, store the figures and print all of them."""
    if sys.argv[1:2] == ["--train"]:
        train(Path(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan")
    parser.add_argument("names", nargs="*", help="shapes; empty: all")
    parser.add_argument(
        "--forecast", action="store_true", help="measure nothing; compare new forecasts with stored measurements"
    )
    parser.add_argument(
        "--dtype", choices=("bf16", "fp32"), default="bf16", help="of the shapes that are not fp32 themselves"
    )
    args = parser.parse_args()
    results = RESULTS if args.dtype == "bf16" else RESULTS.with_stem("plan-fp32")
    figures: dict[str, Any] = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {"shapes": {}}
    figures |= {"machine": machine()}
    for name in args.names or SHAPES:
        before = figures["shapes"].get(name) if args.forecast else None
        figures["shapes"][name] = compare(in_dtype(SHAPES[name], args.dtype), before)
        results.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        print(row(figures["shapes"][name]), flush=True)
    print("\n".join(table(figures)))


def in_dtype(shape: Shape, dtype: str) -> Shape:
    """A bf16 shape in another dtype: a CPU without bf16 instructions takes hours for bf16."""
    train = {"dtype": dtype} | shape.sections["train"]
    return replace(shape, title=shape.title.replace("bf16", dtype), sections=shape.sections | {"train": train})


def compare(shape: Shape, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """Forecast a shape and compare it with a measurement: `before`, or a new one."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        file = write_recipe(shape, folder)
        forecast = forecast_of(file)
        measured = before or measure(shape, file)
    peak, parts = measured["measured_gib"], forecast["parts"]
    total = sum(parts.values())
    return {
        "title": shape.title,
        "forecast_gib": round(total, 3),
        "measured_gib": peak,
        "error": round(total / peak - 1, 4),
        "error_above": round((total - parts["process"]) / (peak - parts["process"]) - 1, 4),
        "beside_gib": round(peak - total + parts["process"] + parts["heap"], 3),
        "parts": {name: round(value, 3) for name, value in forecast["parts"].items()},
        "pack": forecast["pack"],
        "seconds": measured["seconds"],
    }


def measure(shape: Shape, file: Path) -> dict[str, Any]:
    """Train the shape in a new process; returns its peak memory and seconds."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.plan", "--train", str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{shape.title}: {done.stderr}")
    seconds = round(time.perf_counter() - began, 1)
    return {"measured_gib": round(float(done.stdout.splitlines()[-1]), 3), "seconds": seconds}


def forecast_of(file: Path) -> dict[str, Any]:
    """The forecast of `eyegraft plan FILE --device cpu`: the pack and GiB by part."""
    from llm.config.schema import RunConfig
    from vlm.config import load_config
    from vlm.plan.device import GIB
    from vlm.plan.memory_report import forecast_run

    config = load_config(file)
    assert isinstance(config, RunConfig)
    found = forecast_run(config, (), "cpu", 1.0)
    return {"pack": found.pack, "parts": {part: size / GIB for part, size in found.parts.items()}}


def train(file: Path) -> None:
    """Train a recipe as a user does, and print the peak memory in GiB."""
    from llm.config.schema import RunConfig
    from vlm.config import load_config
    from vlm.model.runs import train

    config = load_config(file)
    assert isinstance(config, RunConfig)
    train(config, Path.cwd())
    print(resident_peak_gib())


def write_recipe(shape: Shape, folder: Path) -> Path:
    """Write the shape's models, data and recipe to a folder; returns the recipe's file."""
    model: dict[str, Any] = {"llm": str(make_llm(shape.llm, folder) if shape.llm else SMOLLM2)}
    if shape.tower:
        model |= {"tower": str(make_tower(shape.tower, folder)), "image_mode": "resize"}
    sections: dict[str, dict[str, Any]] = {
        "data": {"sources": [write_data(shape, folder)], "max_length": shape.length, "cache_features": "off"},
        "train": {"max_steps": STEPS, "epochs": 1, "fold": "off", "save_every": 0},
        "optim": {"lr": 1e-4},
    }
    for name, values in shape.sections.items():
        sections[name] = sections.get(name, {}) | values
    sections["train"]["batch"] = batch_of(shape)
    sections["data"]["template"] = "chatml" if shape.tower else "plain"
    recipe = {"name": "shape", "out": str(folder / "run"), "stage": shape.stage, "model": model, **sections}
    file = folder / "recipe.yaml"
    file.write_text(json.dumps(recipe), encoding="utf-8")  # JSON is YAML
    return file


def write_data(shape: Shape, folder: Path) -> dict[str, Any]:
    """Write records of almost `shape.length` tokens, almost all text tokens targets; returns the recipe's source."""
    draw, rows = random.Random(0), []
    images = sorted((IMAGES / "train").rglob("*.png"))
    for number in range(batch_of(shape) * STEPS):
        if shape.tower:
            words = shape.length - image_tokens(shape) - 24
            turns = [{"from": "human", "value": "<image>\nwhat?"}, {"from": "gpt", "value": random_words(draw, words)}]
            rows.append({"id": str(number), "image": str(images[number]), "conversations": turns})
        else:
            rows.append({"text": random_words(draw, shape.length - 3)})
    file = folder / "data.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    return {"path": str(file), "format": "llava" if shape.tower else "text", "images": str(IMAGES / "train")}


def batch_of(shape: Shape) -> int:
    """Records per step."""
    return PACKS * int(shape.sections["train"]["pack_tokens"]) // shape.length


def random_words(draw: random.Random, count: int) -> str:
    """`count` random words."""
    return " ".join(draw.choices(WORDS.split(), k=count))


def image_tokens(shape: Shape) -> int:
    """Tokens of one image."""
    return int((224 // int(shape.tower["patch_size"])) ** 2)


def make_llm(settings: dict[str, Any], folder: Path) -> Path:
    """A random Llama with SmolLM2's tokenizer, bf16 on disk."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from llm.model.pretrained import load_tokenizer

    tokenizer = load_tokenizer(str(SMOLLM2))
    torch.manual_seed(0)
    config = LlamaConfig(**settings, vocab_size=49152, tie_word_embeddings=True)
    model: Any = LlamaForCausalLM(config)
    model.to(torch.bfloat16)
    model.save_pretrained(folder / "llm")
    tokenizer.save_pretrained(str(folder / "llm"))
    return folder / "llm"


def make_tower(settings: dict[str, Any], folder: Path) -> Path:
    """A random CLIP-like ViT for images of 224 pixels, fp32 on disk."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModel

    torch.manual_seed(0)
    CLIPVisionModel(CLIPVisionConfig(**settings, image_size=224)).save_pretrained(folder / "tower")
    return folder / "tower"


def machine() -> dict[str, Any]:
    """The machine and package versions of the figures."""
    packages = ("torch", "transformers", "peft", "bitsandbytes")
    return {
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def table(figures: dict[str, Any]) -> list[str]:
    """The figures in Markdown."""
    head = ["| shape | forecast GiB | measured GiB | error | error above the process |", "|---|---|---|---|---|"]
    return [*head, *(row(shape) for shape in figures["shapes"].values())]


def row(shape: dict[str, Any]) -> str:
    """One line of the table."""
    return (
        f"| {shape['title']} | {shape['forecast_gib']:.2f} | {shape['measured_gib']:.2f} "
        f"| {shape['error']:+.1%} | {shape['error_above']:+.1%} |"
    )


if __name__ == "__main__":
    main()
