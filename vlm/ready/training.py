"""A finetune of a ready model put together: opened, proved, trained, and opened again as a run left it."""

from functools import partial
from pathlib import Path

import torch
from torch import nn

from llm.config.yaml_loader import resolve_yaml
from llm.data.corpus import Corpus
from llm.data.prefix_sharing import share_prefixes
from llm.forward.chunked_loss import in_chunks
from llm.log import logger
from llm.model.activation_checkpointing import recompute
from llm.model.hf_export import proving
from llm.model.lora import LoraSettings, apply_tuning, inject_adapter
from llm.model.model_folder import local_folder
from llm.model.precision import dtype_of
from llm.model.quantization import is_linear
from llm.train.assembly import OpenedModel, check_tracking, probe_answerer, resolve_dtype
from llm.train.optimizer import ParamGroup
from llm.train.provenance import base_digest
from llm.train.run import run_training
from llm.train.run_parts import RunParts
from vlm.config import ReadyRunConfig
from vlm.ready.batch import ReadyBatch, collate_ready
from vlm.ready.chat import chat_model
from vlm.ready.encoder import ReadyEncoder
from vlm.ready.forward import ReadyModule
from vlm.ready.proof import prove
from vlm.ready.ready_model import ReadyVlm, open_ready
from vlm.ready.report import proof_lines
from vlm.ready.ways import Way
from vlm.vision.images import check_header, read_image


class OpenedReady(OpenedModel[ReadyRunConfig, ReadyModule]):
    """A ready model, opened."""

    __slots__ = ()


def train_ready(config: ReadyRunConfig, base: Path, anyway: bool = False) -> Path:
    """Train a ready model, or continue; returns the run folder. As `llm.train.assembly.train_text`.

    Raises ModelError where the model is not computed here as plain transformers computes it.
    """
    check_tracking(config)
    config = resolve_dtype(config)
    torch.manual_seed(config.seed)  # adapters are initialised below
    opened = _open(config, proved=True)
    return run_training(opened.config, ready_parts(opened), resolve_yaml(opened.config), base, anyway)


def open_ready_model(config: ReadyRunConfig) -> OpenedReady:
    """The recipe's model with what this run trains opened, to answer or to be exported: it attends as transformers."""
    return _open(config, proved=False)


def _open(config: ReadyRunConfig, proved: bool) -> OpenedReady:
    """`proved`: the model attends to packs in the way that the proof finds, which is logged and kept for the report."""
    vlm = open_ready(config.model.llm, dtype_of(config))
    vlm.hf.config.get_text_config().use_cache = False
    vlm.attend(Way.ALONE)
    module = ReadyModule(vlm, in_chunks(config))
    if proved:
        config = _prove(config, module)
    groups = _groups(vlm, config)
    recompute(vlm.text, config)
    encoder = ReadyEncoder(vlm.processor)
    return OpenedReady(config, module, encoder, groups, chat_model(vlm, encoder))


def _prove(config: ReadyRunConfig, module: ReadyModule) -> ReadyRunConfig:
    """Prove the model, in fp32 and before anything is frozen; the recipe without what the model cannot do."""
    vlm = module.vlm
    with proving(vlm.hf), torch.enable_grad():
        proof = prove(vlm)
    for line in proof_lines(proof, vlm.processor.counts):
        logger.info(line)
    module.shares_prefixes, module.facts = proof.shares_prefixes, {"proof": proof.facts()}
    if proof.shares_prefixes:
        return config
    return config.model_copy(update={"train": config.train.model_copy(update={"fold": "off"})})


def _groups(vlm: ReadyVlm, config: ReadyRunConfig) -> list[ParamGroup]:
    """Freeze all parameters, then unfreeze those that `tune` names; groups with their learning rates."""
    tune, optim = config.tune, config.optim
    vlm.hf.requires_grad_(False)
    groups = [ParamGroup("llm", apply_tuning(vlm.hf, tune), optim.lr)]
    groups.append(ParamGroup("tower", _image_side(vlm, config), optim.lr if optim.tower_lr is None else optim.tower_lr))
    for group in groups:
        for parameter in group.parameters:
            parameter.requires_grad_(True)
    return [group for group in groups if group.parameters]


def _image_side(vlm: ReadyVlm, config: ReadyRunConfig) -> list[nn.Parameter]:
    tune = config.tune
    if tune.tower == "frozen":
        return []
    if tune.tower == "full":
        return list(vlm.image_side)
    settings = LoraSettings(tune.tower_rank, tune.tower_alpha, tune.tower_dropout)
    found = [inject_adapter(part, settings) for part in vlm.image_modules() if _has_layers(part)]
    return [parameter for parameters in found for parameter in parameters]


def _has_layers(part: nn.Module) -> bool:
    """Whether a part has linears in repeated layers, which adapters go onto."""
    names = (name for name, inner in part.named_modules() if is_linear(inner))
    return any(word.isdigit() for name in names for word in name.split("."))


def ready_parts(opened: OpenedReady) -> RunParts[ReadyBatch]:
    """What the training loop needs of an opened ready model; its report keeps what the proof found."""
    config, vlm = opened.config, opened.model.vlm
    fold = config.train.fold == "auto" and opened.model.shares_prefixes
    return RunParts(
        model=opened.model,
        encoder=opened.encoder,
        groups=opened.groups,
        collate=partial(_collate, vlm, fold),
        answer=probe_answerer(opened.chat_model),
        check_image=read_image if config.data.check_images == "decode" else check_header,
        look=read_image,
        bases=partial(_base_digests, config),
        must_move=tuple(group.name for group in opened.groups if group.name == "llm"),
        facts=opened.model.facts,
    )


def _collate(vlm: ReadyVlm, fold: bool, corpus: Corpus, indices: tuple[int, ...]) -> ReadyBatch:
    samples = [corpus.sample(index) for index in indices]
    if not fold:
        return collate_ready(samples, vlm, indices)
    single = [sample for sample in samples if len(sample.images) <= 1]
    tree = [share_prefixes(single, vlm.processor.row_id)[0]] if single else []
    return collate_ready([*tree, *(sample for sample in samples if len(sample.images) > 1)], vlm, indices)


def _base_digests(config: ReadyRunConfig, cache: Path) -> dict[str, str]:
    """The hash of the folder that the run starts from."""
    return {"model.vlm": base_digest(local_folder(config.model.llm, ("config.json", "*.safetensors")), cache)}
