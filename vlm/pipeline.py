"""Recipes in a row: each step is done once, and a stopped pipeline goes on where it stood."""

import gc
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from llm.load import resolve_yaml
from llm.run import run_folder
from vlm.config import AnyConfig, EvalConfig, ExportConfig, PipelineConfig, load_config


def run_pipeline(config: PipelineConfig, recipe: Path) -> Path:
    """Run every step and join their figures in `report.json`; finished steps are named and skipped."""
    folder = Path(config.out or f"runs/{config.name}")
    folder.mkdir(parents=True, exist_ok=True)
    steps = [load_config(recipe.parent / step, ()) for step in config.steps]
    done = _read(folder / "pipeline.json")
    for number, step in enumerate(steps, 1):
        key = _key(steps[:number])
        title = f"step {number}/{len(steps)} {step.name} ({step.stage})"
        if done.get(step.name, {}).get("key") == key:
            print(f"{title}: done before")
            continue
        print(f"{title}", flush=True)
        began = time.perf_counter()
        figures = run_step(step, recipe.parent)
        gc.collect()
        earlier = done.get(step.name, {}).get("seconds", 0.0)
        done[step.name] = {"key": key, "seconds": round(earlier + time.perf_counter() - began, 1), "figures": figures}
        (folder / "pipeline.json").write_text(json.dumps(done, indent=1), encoding="utf-8")
    _report(folder, done)
    return folder


def run_step(step: AnyConfig, base: Path) -> dict[str, Any]:
    """One recipe of any stage; returns the figures that belong in the pipeline's report."""
    if isinstance(step, EvalConfig):
        from vlm.measure import evaluate

        return evaluate(step)
    if isinstance(step, ExportConfig):
        from vlm.export_run import export

        return {"export_max_logit_diff": export(Path(step.run), Path(step.out), step.dtype, step.checkpoint)}
    if isinstance(step, PipelineConfig):
        run_pipeline(step, base / "pipeline.yaml")
        return {}
    from vlm.run import train

    train(step, Path.cwd())
    report = json.loads((run_folder(step) / "report.json").read_text(encoding="utf-8"))
    return {f"{step.name}_{key}": report[key] for key in ("steps", "final_loss", "tokens_per_s", "peak_memory_gib")}


def _key(steps: list[AnyConfig]) -> str:
    """A step is done again when it or a step before it changed."""
    text = "\n".join(resolve_yaml(step) for step in steps)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _report(folder: Path, done: dict[str, dict[str, Any]]) -> None:
    figures = {key: value for step in done.values() for key, value in step["figures"].items()}
    figures["seconds"] = round(sum(step["seconds"] for step in done.values()), 1)
    figures["step_seconds"] = {name: step["seconds"] for name, step in done.items()}
    (folder / "report.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(f"\n{folder / 'report.json'}")
    for key, value in figures.items():
        print(f"  {key:<36} {value}")
