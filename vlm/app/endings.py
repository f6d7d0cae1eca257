"""How commands end: where the result is, and the commands that a user may want next."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from llm import console
from llm.config.schema import RunConfig, run_folder
from vlm.app.named_files import missing_files
from vlm.config import AnyConfig, EvalConfig, ExportConfig, PipelineConfig, ReadyRunConfig, VlmRunConfig, load_steps


def verdict(config: AnyConfig, source: Path) -> tuple[list[str], str]:
    """What the recipe names and is not here, a line each, and the verdict on the recipe."""
    steps = [step for _, step in load_steps(config, source)] if isinstance(config, PipelineConfig) else [config]
    missing = [
        f"{step.name}: {line}" if len(steps) > 1 else line
        for number, step in enumerate(steps)
        for line in missing_files(step, steps[:number])
    ]
    if not missing:
        return [], f"{source}: the recipe is valid, and every file that it names is here"
    return missing, f"{source}: the recipe is valid; of the files that it names, {len(missing)} are not here"


def after_validation(config: AnyConfig, file: str, overrides: Sequence[str]) -> None:
    """Print the next commands on standard error: standard output is the recipe."""
    recipe = shlex.join([file, *overrides])
    if isinstance(config, EvalConfig):
        console.next_commands(f"eyegraft eval {recipe}", to_err=True)
    elif isinstance(config, ExportConfig):
        console.next_commands(f"eyegraft train {recipe}", to_err=True)
    else:
        console.next_commands(f"eyegraft plan {recipe}", f"eyegraft train {recipe}", to_err=True)


def after_training(config: AnyConfig, source: Path) -> None:
    """Print where the run, or a pipeline's last run, is, its figures, and the next commands."""
    if isinstance(config, PipelineConfig):
        runs = [step for _, step in load_steps(config, source) if isinstance(step, RunConfig)]
        if runs:
            console.next_commands(*next_of_run(runs[-1], shlex.quote(str(run_folder(runs[-1])))))
        return
    if not isinstance(config, RunConfig):
        return
    from llm.train.report import read_report  # here: validation needs no torch

    folder = run_folder(config)
    report = read_report(folder)
    if report is not None:
        loss, seconds = report["final_loss"], report["train_seconds"]
        figures = f"{report['steps']} steps, final loss {loss:.4g}" if loss is not None else f"{report['steps']} steps"
        console.out(f"{folder}: {figures}, {seconds / 60:.1f} minutes of training; report.json, loss.png, checkpoints/")
    console.next_commands(*next_of_run(config, shlex.quote(str(folder))))


def next_of_run(config: RunConfig, run: str) -> tuple[str, str]:
    """The two commands after a run."""
    if isinstance(config, VlmRunConfig) and config.stage == "pretrain":
        return f"eyegraft train FINETUNE.yaml from={run}", f"eyegraft chat {run} --image FILE"
    image = " --image FILE" if isinstance(config, VlmRunConfig | ReadyRunConfig) else ""
    return f"eyegraft chat {run}{image}", f"eyegraft export {run} DIR"
