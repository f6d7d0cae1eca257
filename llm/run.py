"""A training run told as a story; text and vision share it and differ in their `Parts`."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from errno import EDQUOT, EIO, ENOSPC, EROFS
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from llm.batch import PackedBatch, collate
from llm.checkpoint import (
    Progress,
    list_checkpoints,
    load_weights,
    newest_whole,
    read_state,
    read_weights,
    save,
)
from llm.config import Probe, RunConfig, Source, run_folder
from llm.corpus import CheckImage, Corpus, build_corpus, hold_out
from llm.encode import Encoder, Sample
from llm.engine import TorchEngine
from llm.errors import RunError
from llm.ground import Ground, changed_lines, completed
from llm.load import resolve_yaml
from llm.loader import Loader, Schedule, plan_run
from llm.lock import only_writer
from llm.loop import Work, fit
from llm.metrics import RunLog, now, peak_memory_gib, plot_loss, read_rows
from llm.optim import ParamGroup, build_optimizer
from llm.preflight import preflight
from llm.quarantine import Quarantine
from llm.varlen import describe

BatchT = TypeVar("BatchT")
DISK = (ENOSPC, EDQUOT, EROFS, EIO)  # what a disk says that is full, over quota, read-only or broken


@dataclass(frozen=True, slots=True)
class Parts(Generic[BatchT]):
    """What a run is made of, text or vision."""

    model: nn.Module  # called with a batch: the summed loss
    encoder: Encoder
    groups: list[ParamGroup]
    collate: Callable[[Corpus, tuple[int, ...]], BatchT]
    answer: Callable[[Probe], str]
    check_image: CheckImage | None = None
    look: CheckImage | None = None  # reads a picture whole, as a step would; None: a text run
    bases: Callable[[Path], dict[str, str]] = lambda cache: {}  # hashes of what was trained elsewhere, by name
    prepare: Callable[[Corpus], None] = lambda corpus: None  # once, before a fresh run's first step
    ready: Callable[[Corpus, Path], str] = lambda corpus, folder: ""  # before every run's first step; a line to print
    saved_buffers: tuple[str, ...] = ()  # buffers that belong to a checkpoint, by name
    must_move: tuple[str, ...] = ()  # groups whose gradient may not be zero


@dataclass(frozen=True, slots=True)
class Material:
    """The data of a run: corpora and what is done with them."""

    train: Corpus
    chosen: NDArray[np.int64]
    held_corpus: Corpus | None
    held: NDArray[np.int64]
    schedule: Schedule
    facts: dict[str, Any] = field(default_factory=dict)
    quarantine: Quarantine | None = None
    held_quarantine: Quarantine | None = None

    def quarantined(self) -> dict[str, Any]:
        """The bad records of both corpora, for a checkpoint."""
        both = {"train": self.quarantine, "held": self.held_quarantine}
        return {name: quarantine.state() for name, quarantine in both.items() if quarantine is not None}

    def quarantine_again(self, state: dict[str, Any]) -> None:
        """Go on from `quarantined()`."""
        for quarantine, name in ((self.quarantine, "train"), (self.held_quarantine, "held")):
            if quarantine is not None:
                quarantine.load(state.get(name, ()))


def run_training(config: RunConfig, parts: Parts[BatchT], resolved: str, base: Path, anyway: bool = False) -> Path:
    """Train what the recipe says, from the newest whole checkpoint if there is one; returns the run folder.

    Running a finished run again does nothing and says so. Raises RunError when the folder holds another run or another
    process writes to it, CheckpointError when the data changed since the run began; `anyway` lets a changed recipe and
    changed data pass.
    """
    folder = run_folder(config)
    with only_writer(folder):
        try:
            return _train(config, parts, resolved, base, anyway)
        except OSError as error:
            if error.errno not in DISK:
                raise
            raise RunError(
                f"{folder}: the disk refused: {error}. Free space or check the disk, then run the same command to go "
                "on from the last checkpoint"
            ) from error


def _train(config: RunConfig, parts: Parts[BatchT], resolved: str, base: Path, anyway: bool) -> Path:
    folder = run_folder(config)
    refuse_other_recipe(folder, config, anyway)
    newest, done = newest_whole(folder) or (None, Progress())
    claim_folder(folder, resolved)
    if done.finished and (folder / "report.json").exists():
        print(f"{folder}: finished at step {done.step}; nothing to do")
        return folder
    began = time.perf_counter()
    torch.manual_seed(config.seed)
    material = read_material(config, parts, folder, base)
    _tell(material)
    if done.finished:  # it died between its last checkpoint and its report
        _report(folder, config, material, done, time.perf_counter() - began)
        return folder
    if done.step >= material.schedule.total:  # only after --anyway: the plan became shorter than what is done
        print(f"{folder}: is at step {done.step}, the new plan ends at {material.schedule.total}; nothing to do")
        return folder
    first = next(parts.model.parameters())
    print(f"attention: {describe(first.device, first.dtype)}")
    if line := parts.ready(material.train, folder):
        print(line)
    optimizer = build_optimizer(parts.groups, config.optim)
    engine = TorchEngine(optimizer, config.optim.clip)
    loader = loader_of(parts, material)
    parts.model.train()
    if not done.step:
        parts.prepare(material.train)
    preflight(parts.model, parts.groups, optimizer, loader, parts.must_move, material.train)
    ground = _ground(config, parts, material, cache_folder(config, folder))
    if newest:
        _restore(newest, parts.model, engine, ground, material, anyway)
        print(f"{folder}: going on after step {done.step}")
    (folder / "report.json").unlink(missing_ok=True)  # of an end that turned out damaged
    with RunLog(folder, material.schedule.total, done.step, done.metrics) as log:
        if not done.step:
            log.write({"kind": "plan", "step": 0, **material.facts, "time": now()})
        work = Work(
            loss=parts.model,
            name_samples=lambda batch: _names(batch, material.train),
            shape=_shape,
            save=lambda progress: _save(folder, progress, parts, engine, ground, material, config.train.keep),
            validate=lambda: _validation_loss(parts, material, config),
            probe=lambda step: _probe(folder, step, config.train.probes, parts.answer),
        )
        progress = fit(work, engine, loader, log, config.train, config.optim, done)
    _report(folder, config, material, progress, time.perf_counter() - began)
    return folder


def loader_of(parts: Parts[BatchT], material: Material) -> Loader[BatchT]:
    """The training steps of this process."""
    corpus = material.train
    return Loader(
        corpus,
        material.schedule,
        lambda indices: parts.collate(corpus, indices),
        quarantine=material.quarantine,
    )


def refuse_other_recipe(folder: Path, config: RunConfig, anyway: bool) -> None:
    """Raise RunError when the folder holds another recipe's run, unless `anyway`. Writes nothing."""
    recipe = folder / "config.yaml"
    if anyway or not recipe.exists() or not list_checkpoints(folder):
        return
    if changed := changed_lines(completed(recipe, type(config)), resolve_yaml(config)):
        raise RunError(
            f"{folder} holds a run of another recipe; these lines differ:\n{changed}\n"
            f"Go on with the old recipe ({recipe}), choose another `out`, delete the folder, or add --anyway"
        )


def claim_folder(folder: Path, resolved: str) -> None:
    """Keep the resolved recipe in the run folder. Raises RunError when that cannot be written."""
    try:
        _write_whole(folder / "config.yaml", resolved)
        _write_whole(folder / "environment.json", json.dumps(_environment(), indent=1))
    except OSError as error:
        raise RunError(f"{folder}: the run folder cannot be written: {error}. Choose another `out`") from error


def _write_whole(path: Path, text: str) -> None:
    """All of it or nothing, whenever the process dies: half a recipe would refuse the run that resumes it."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def _environment() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("torch", "transformers", "peft", "numpy", "tokenizers", "pillow")
    return {"python": sys.version.split()[0]} | {name: version(name) for name in packages}


def cache_folder(config: RunConfig, folder: Path) -> Path:
    """Where encoded records lie, and digests of the base models."""
    return Path(config.data.cache) if config.data.cache else folder / "cache"


def read_material(config: RunConfig, parts: Parts[BatchT], folder: Path, base: Path) -> Material:
    """Corpora, the held-out part and the schedule."""
    cache = cache_folder(config, folder)

    def corpus_of(sources: tuple[Source, ...]) -> Corpus:
        return build_corpus(sources, config.data, parts.encoder, cache, base, parts.check_image)

    train = corpus_of(config.data.sources)
    chosen, held = hold_out(train, config.data.validation, config.seed)
    held_corpus: Corpus | None = train if len(held) else None
    if config.data.validation_sources:
        held_corpus = corpus_of(config.data.validation_sources)
        held = np.arange(len(held_corpus))
    schedule = plan_run(train, chosen, config.train, config.seed)
    facts = {
        "records": len(train),
        "dropped_too_long": len(train.dropped),
        "validation_records": len(held),
        "tokens": int(train.lengths[chosen].sum()),
        "supervised_tokens": int(train.targets[chosen].sum()),
        "images": int(train.image_counts[chosen].sum()),
        "steps": schedule.total,
    }
    quarantine = _quarantine(config, parts, train)
    held_quarantine = quarantine if held_corpus is train else _quarantine(config, parts, held_corpus)
    return Material(train, chosen, held_corpus, held, schedule, facts, quarantine, held_quarantine)


def _quarantine(config: RunConfig, parts: Parts[BatchT], corpus: Corpus | None) -> Quarantine | None:
    if corpus is None or parts.look is None:
        return None
    return Quarantine(corpus, parts.look, stop=config.data.on_bad_image == "stop")


def _ground(config: RunConfig, parts: Parts[BatchT], material: Material, cache: Path) -> Ground:
    return Ground(parts.bases(cache) | parts.encoder.hashes() | {"data": material.train.digest()}, config)


def _tell(material: Material) -> None:
    for line in material.train.sources:
        print(line)
    for place in material.train.dropped[:5]:
        print(f"dropped, too long: {place}")


def _names(batch: Any, corpus: Corpus) -> str:
    text: PackedBatch = batch if isinstance(batch, PackedBatch) else batch.text
    return "; ".join(corpus.places[index] for index in text.samples)


def _shape(batch: Any) -> str:
    text: PackedBatch = batch if isinstance(batch, PackedBatch) else batch.text
    pictures = "" if text is batch else f", {batch.pictures} pictures"
    return f"{text.tokens:,} rows ({len(text.samples)} samples{pictures})"


def trainable_weights(model: nn.Module, buffers: tuple[str, ...]) -> dict[str, Tensor]:
    """What a checkpoint keeps: the parameters that train and the buffers that belong to them."""
    weights = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
    return weights | {name: tensor for name, tensor in model.named_buffers() if name in buffers}


def _save(
    folder: Path,
    progress: Progress,
    parts: Parts[BatchT],
    engine: TorchEngine,
    ground: Ground,
    material: Material,
    keep: int,
) -> None:
    random = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    state = {"engine": engine.state(), "random": random, "quarantine": material.quarantined(), **ground.state()}
    save(folder, progress, trainable_weights(parts.model, parts.saved_buffers), state, keep)


def _restore(
    newest: Path, model: nn.Module, engine: TorchEngine, ground: Ground, material: Material, anyway: bool
) -> None:
    """Put a checkpoint's weights and state back. Raises CheckpointError before anything moved if its ground changed."""
    state = read_state(newest)
    if not anyway:
        ground.refuse_changed(newest, state)
    if ground.same_data(state):  # other records have other numbers
        material.quarantine_again(state.get("quarantine", {}))
    load_weights(model, read_weights(newest))
    engine.load(state["engine"])
    torch.set_rng_state(state["random"]["cpu"])
    if "cuda" in state["random"]:
        torch.cuda.set_rng_state(state["random"]["cuda"])


def _validation_loss(parts: Parts[BatchT], material: Material, config: RunConfig) -> float | None:
    """Mean loss over all held-out targets, in eval mode."""
    corpus = material.held_corpus
    if corpus is None:
        return None
    train = config.train.model_copy(update={"epochs": 1.0, "max_steps": 0})
    schedule = plan_run(corpus, material.held, train, seed=0)
    modes = {module: module.training for module in parts.model.modules()}
    parts.model.eval()
    total, targets = 0.0, 0
    loader = Loader(
        corpus, schedule, lambda indices: parts.collate(corpus, indices), quarantine=material.held_quarantine
    )
    with torch.no_grad():
        for step in loader.steps(0):
            total += sum(float(parts.model(batch)) for batch in step.batches)
            targets += step.targets
    for module, training in modes.items():
        module.training = training
    return total / targets


def _probe(folder: Path, step: int, probes: tuple[Probe, ...], answer: Callable[[Probe], str]) -> None:
    if not probes:
        return
    answers = [{"prompt": probe.prompt, "image": probe.image, "answer": answer(probe)} for probe in probes]
    samples = folder / "samples"
    samples.mkdir(exist_ok=True)
    (samples / f"step-{step:06d}.json").write_text(json.dumps(answers, ensure_ascii=False, indent=1), encoding="utf-8")
    for row in answers:
        print(f"     probe {step:>6}  {row['prompt']!r} -> {row['answer']!r}")


def _report(folder: Path, config: RunConfig, material: Material, progress: Progress, seconds: float) -> None:
    """report.json and loss.png: what the run was and what came of it."""
    train, validation = read_rows(folder, "train"), read_rows(folder, "validation")
    report = {
        "name": config.name,
        "stage": config.stage,
        **material.facts,
        "dropped_records": material.train.dropped,
        "quarantined_records": _quarantined(material),
        "final_loss": train[-1]["loss"] if train else None,
        "validation_loss": validation[-1]["loss"] if validation else None,
        "tokens_seen": progress.tokens,
        "tokens_per_s": round(progress.tokens / max(progress.seconds, 1e-9), 1),
        "train_seconds": round(progress.seconds, 1),
        "seconds": round(seconds, 1),
        "peak_memory_gib": round(peak_memory_gib(), 2),
        "progress": asdict(progress),
    }
    plot_loss(folder)
    # Last and whole: a run that died before this line makes it up at its next start.
    _write_whole(folder / "report.json", json.dumps(report, ensure_ascii=False, indent=1))


def _quarantined(material: Material) -> list[str]:
    lists = {id(found): found for found in (material.quarantine, material.held_quarantine) if found is not None}
    return [line for found in lists.values() for line in found.told()]


def collate_text(corpus: Corpus, indices: tuple[int, ...], fold: bool = False) -> PackedBatch:
    """The batch of one pack of a text run."""
    return collate(samples_of(corpus, indices, fold), indices)


def samples_of(corpus: Corpus, indices: tuple[int, ...], fold: bool) -> list[Sample]:
    """The samples of a pack; with `fold`, those that share a beginning as one."""
    return corpus.folded(indices) if fold else [corpus.sample(index) for index in indices]
