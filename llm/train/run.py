"""A training run from recipe to report. Text and vision runs differ in their `RunParts` alone."""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from errno import EACCES, EDQUOT, EIO, ENOSPC, EPERM, EROFS
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llm import distributed
from llm.activity import activity
from llm.attention.varlen_kernels import describe
from llm.config.schema import RunConfig, run_folder
from llm.data.loader import Loader
from llm.encoding.encoder import Encoder
from llm.errors import DiskError
from llm.files.atomic_files import write_atomically
from llm.files.folder_mark import check_claim
from llm.files.owned_files import make_owned_folder
from llm.files.saved_checkpoints import checkpoint_folder
from llm.lean import decoder
from llm.log import logger
from llm.model.eval_mode import eval_mode
from llm.track.feed import Feed
from llm.train.checkpoint import newest_intact, save
from llm.train.checkpoint_state import Progress, load_weights, read_state, read_weights
from llm.train.engine import Engine, build_engine
from llm.train.loop import Interrupted, LoopCallbacks, fit
from llm.train.metrics import NullLog, RunLog, iter_metrics, now
from llm.train.preflight import preflight
from llm.train.process_memory import release_free_memory
from llm.train.provenance import Provenance
from llm.train.report import write_report
from llm.train.rng import restore_rng_states, rng_states, seed_process
from llm.train.run_data import (
    RunData,
    cache_folder,
    read_run_data,
    survey_loaders,
    training_loader,
    validation_loader,
)
from llm.train.run_folder import RUN, claim_folder, exclusive_writer, refuse_other_recipe, require_folder
from llm.train.run_parts import Batch, RunParts

# errno of a disk that is full, over quota, read-only, not ours or broken.
DISK = (ENOSPC, EDQUOT, EROFS, EACCES, EPERM, EIO)


def run_training(config: RunConfig, parts: RunParts[Batch], resolved: str, base: Path, anyway: bool = False) -> Path:
    """Train a recipe from the newest intact checkpoint, if there is one; returns the run folder.

    A finished run is left as it is. Raises RunError when the folder holds another run or another process trains there,
    CheckpointError when what the run was begun with changed; `anyway` allows a changed recipe and changed data.
    """
    folder = run_folder(config)
    if distributed.ranks().first:
        check_claim(folder, RUN)  # before the lock file is written into a folder that may be someone's
    with exclusive_writer(folder) if distributed.ranks().first else nullcontext():
        try:
            return _train(config, parts, resolved, base, anyway)
        except OSError as error:
            if error.errno not in DISK:
                raise
            raise DiskError(
                f"{folder}: the disk refused: {error}. Free space or check the disk and its rights, then run the same "
                "command to go on from the last checkpoint"
            ) from error


def _train(config: RunConfig, parts: RunParts[Batch], resolved: str, base: Path, anyway: bool) -> Path:
    folder = run_folder(config)
    newest, done = _claim(folder, config, resolved, anyway)
    if done.finished and (folder / "report.json").exists():
        logger.info(f"{folder}: finished at step {done.step}; nothing to do")
        with _feed(config, folder) as feed:
            feed.wake()  # what trackers do not have yet
        return folder
    began = time.perf_counter()
    seed_process(config.seed)
    data = read_run_data(config, parts, folder, base)
    _log_data(data, parts.encoder)
    if done.finished:  # it was stopped between its last checkpoint and its report
        _report(folder, config, data, done, began)
        return folder
    if done.step >= data.schedule.total:  # after --anyway: the new schedule is shorter than what is done
        logger.info(f"{folder}: is at step {done.step}, the new plan ends at {data.schedule.total}; nothing to do")
        return folder
    loader = _prepare_model(config, parts, data, folder, fresh=not done.step)
    # The first hashes files, the others find the digests.
    with activity("hashing what the run starts from"), distributed.first_rank_first():
        provenance = Provenance.of(config, parts.bases(cache_folder(config, folder)), parts.encoder, data.train)
    _survey(config, parts, data, provenance)
    state = _load_checkpoint(newest, parts.saved_model, provenance, data, anyway) if newest else {}
    if "figures" in state:
        parts.figures.restore(state["figures"])
    with activity("preparing the optimizer"):
        engine = build_engine(parts.model, parts.groups, config)  # after the weights are loaded: it may partition them
    if newest:
        engine.load(state["engine"])
        same = restore_rng_states(state["random"], config.seed, done.step)
        note = "" if same else "; as other processes, with other dropout"
        logger.info(f"{folder}: going on after step {done.step}{note}")
    run = TrainingRun(config, folder, parts, data, provenance, engine)
    with _feed(config, folder) as feed, _open_log(folder, data, done, feed.wake) as log:
        if _planned_steps(folder) != data.schedule.total:  # a new run, or with --anyway another plan
            log.write({"kind": "plan", "step": done.step, **data.facts, "time": now()})
        try:
            done = fit(run.callbacks(), engine, loader, log, config.train, config.optim, done)
        except Interrupted as stop:
            raise Interrupted(stop.number, stop.step, str(checkpoint_folder(folder, stop.step))) from None
    _report(folder, config, data, done, began)
    distributed.barrier()
    return folder


def _planned_steps(folder: Path) -> int | None:
    """Steps by the newest plan in the run's metrics; None where there is none."""
    plans = [line for _, line in iter_metrics(folder) if line is not None and line["kind"] == "plan"]
    return plans[-1].get("steps") if plans else None


def _claim(folder: Path, config: RunConfig, resolved: str, anyway: bool) -> tuple[Path | None, Progress]:
    """Make the folder this run's; returns its newest intact checkpoint and how far that is."""
    with distributed.first_rank_first():
        refuse_other_recipe(folder, config, anyway)
        newest, done = newest_intact(folder) or (None, Progress())
        if distributed.ranks().first:
            claim_folder(folder, resolved)
    return newest, done


def _prepare_model(
    config: RunConfig, parts: RunParts[Batch], data: RunData, folder: Path, fresh: bool
) -> Loader[Batch]:
    """Place the model on this process's device, try it on the largest pack; returns the loader of the training steps.

    `fresh`: before the first step of a new run.
    """
    with activity("moving the model to its device"):
        first = next(parts.model.to(distributed.device()).parameters())
    logger.info(f"attention: {describe(distributed.device(), first.dtype)}")
    with activity("looking for cached features of images"):
        line = parts.ready(data.train, folder)
    if line:
        logger.info(line)
    loader = training_loader(parts, data)
    parts.model.train()
    if decoder.lean_mode(config) != "off":
        decoder.advance_dropout_seeds(parts.model)
    release_free_memory()
    if fresh:
        with activity("measuring the features of images"):
            parts.prepare(data.train)
    with activity("trying the largest pack, forward and backward"):
        preflight(parts.model, parts.groups, loader, parts.must_move, data.train)
    return loader


def _survey(config: RunConfig, parts: RunParts[Batch], data: RunData, provenance: Provenance) -> None:
    """What the parts compute over all records before the first step, with the weights that the run begins with."""
    if parts.survey is None:
        return
    cache = cache_folder(config, run_folder(config))
    hashes = {name: digest for name, digest in provenance.hashes.items() if name != "data"}
    with activity("reading all records once"):
        line = parts.survey(survey_loaders(config, parts, data), cache, hashes)
    logger.info(line)
    release_free_memory()


def _load_checkpoint(
    checkpoint: Path, model: nn.Module, provenance: Provenance, data: RunData, anyway: bool
) -> dict[str, Any]:
    """Load a checkpoint's weights; returns its state. Raises CheckpointError before that if its provenance differs."""
    state = read_state(checkpoint)
    if not anyway:
        provenance.refuse_changed(checkpoint, state)
    if provenance.same_data(state):  # indices of bad records mean nothing in other data
        data.restore_bad_records(state.get("quarantine", {}))
    load_weights(model, read_weights(checkpoint))
    return state


def _feed(config: RunConfig, folder: Path) -> Feed:
    """What hands metrics on to the recipe's trackers; in the first process alone."""
    return Feed(folder, config.track if distributed.ranks().first else ())


def _open_log(folder: Path, data: RunData, done: Progress, written: Callable[[], None]) -> RunLog | NullLog:
    """The log of the first process; that of the others writes nothing."""
    if not distributed.ranks().first:
        return NullLog()
    (folder / "report.json").unlink(missing_ok=True)  # of a last checkpoint that turned out damaged
    return RunLog(folder, data.schedule.total, done.step, done.metrics, written)


def _log_data(data: RunData, encoder: Encoder) -> None:
    if encoder.template.note:
        logger.warning(encoder.template.note)
    for line in data.train.sources:
        logger.info(line)
    for place in data.train.dropped[:5]:
        logger.info(f"dropped, too long: {place}")


def _report(folder: Path, config: RunConfig, data: RunData, done: Progress, began: float) -> None:
    if distributed.ranks().first:
        write_report(folder, config, data, done, time.perf_counter() - began)


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A run whose model and data are ready: what the loop calls to save, validate and answer probes."""

    config: RunConfig
    folder: Path
    parts: RunParts[Batch]
    data: RunData
    provenance: Provenance
    engine: Engine

    def callbacks(self) -> LoopCallbacks[Batch]:
        """The functions that the loop calls."""
        return LoopCallbacks(
            loss=self.engine.model,
            place=lambda record: self.data.train.places[record],
            save=self.save,
            validate=self.validation,
            probe=self.probe,
            evaluate=self.evaluate,
            figures=self.parts.figures,
        )

    def save(self, progress: Progress) -> None:
        """Write a checkpoint: collected from all processes, written by the first.

        Raises RunError when the run folder was deleted, for a checkpoint by itself cannot be resumed.
        """
        collected = {"engine": self.engine.state(), "random": rng_states()}
        if figures := self.parts.figures.state():
            collected["figures"] = dict(figures)
        weights = trainable_weights(self.parts.saved_model, self.parts.saved_buffers, self.engine)
        if distributed.ranks().first:
            require_folder(self.folder)
            state = collected | {"quarantine": self.data.bad_records_state(), **self.provenance.state()}
            save(self.folder, progress, weights, state, self.config.train.keep)
        distributed.barrier()

    def validation(self) -> Mapping[str, float]:
        """`loss`, the mean over all targets of the validation records, in eval mode, and the run's other figures.

        Empty without such records.
        """
        parts, figures = self.parts, self.parts.figures
        loader = validation_loader(self.config, parts, self.data)
        if loader is None:
            return {}
        total, targets = 0.0, 0
        figures.take()
        with eval_mode(parts.model), torch.no_grad():
            for step in loader.steps(0):
                figures.begin(step.batches)
                total += sum(float(parts.model(batch)) for batch in step.batches)
                targets += step.targets
        sums = torch.tensor([total, *figures.take().tolist()], dtype=torch.float64)
        total, *others = distributed.all_reduce_sum(sums).tolist()
        return {"loss": total / targets, **figures.metrics(others)}

    def evaluate(self) -> Mapping[str, float]:
        """The metrics of `train.evaluate`; the memory that they took is free afterwards."""
        assert self.parts.evaluate is not None, "checked when the run began"
        figures = self.parts.evaluate()
        release_free_memory()
        return figures

    def probe(self, step: int) -> float | None:
        """Answer the recipe's probes into samples/step-N.json, and score those with an expected answer.

        Returns the share of right answers, the same on all processes; None where no probe has an expected one.
        """
        expected = [probe.expect for probe in self.config.train.probes]
        answers = self._answer_probes(step)
        if not any(expected):
            return None
        pairs = [(wanted, answer) for wanted, answer in zip(expected, answers, strict=False) if wanted]
        right = sum(wanted.casefold() in answer.casefold() for wanted, answer in pairs)
        score = right / len(pairs) if distributed.ranks().first else 0.0
        return float(distributed.all_reduce_sum(torch.tensor(score, dtype=torch.float64)))

    def _answer_probes(self, step: int) -> list[str]:
        """The answers on the first process. Under ZeRO-3 all processes answer: each has a part of the model."""
        probes, first = self.config.train.probes, distributed.ranks().first
        if not probes or not (first or self.config.parallel.zero == 3):
            return []
        answer = self.parts.answer
        answers = [{"prompt": probe.prompt, "image": probe.image, "answer": answer(probe)} for probe in probes]
        if not first:
            return []
        samples = make_owned_folder(self.folder / "samples")
        write_atomically(samples / f"step-{step:06d}.json", json.dumps(answers, ensure_ascii=False, indent=1))
        for answered in answers:
            logger.info(f"     probe {step:>6}  {answered['prompt']!r} -> {answered['answer']!r}")
        return [answered["answer"] for answered in answers]


def trainable_weights(model: nn.Module, buffers: tuple[str, ...], engine: Engine) -> dict[str, Tensor]:
    """The tensors of a checkpoint: parameters that train, and the named `buffers`."""
    weights = engine.weights({name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad})
    return weights | {name: tensor for name, tensor in model.named_buffers() if name in buffers}
