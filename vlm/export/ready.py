"""Export of a finetuned ready model in its own class, or of its adapter, compared with plain transformers."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText

from llm.errors import ConfigError
from llm.files.folder_replacement import UNNAMED, Origin
from llm.library_errors import as_model_error
from llm.model import hf_loaders
from llm.model.adapter_files import save_adapter
from llm.model.hf_export import (
    SHARD,
    dense_state,
    difference,
    generation_config,
    plain_model,
    proving,
    reload,
    write_and_prove,
)
from llm.model.merge import densify, merge_adapters, strip_adapters
from llm.model.model_folder import TEXT_FILES, local_folder
from llm.model.precision import dtype_of
from llm.train.assembly import OpenedModel
from vlm.config import ReadyRunConfig
from vlm.export.adapter_base import adapter_base, needs_own_base
from vlm.model.adapter_folder import ADAPTER, BASE
from vlm.ready.batch import collate_ready
from vlm.ready.encoder import ReadyEncoder
from vlm.ready.forward import ReadyModule, every_position
from vlm.ready.processor import HfProcessor, ReadyProcessor
from vlm.ready.proof_records import PlainRecord, proof_records
from vlm.ready.ready_model import ReadyVlm
from vlm.ready.training import OpenedReady


def export_ready(
    opened: OpenedModel[ReadyRunConfig, ReadyModule], out: Path, dtype: torch.dtype, origin: Origin = UNNAMED
) -> float:
    """Write a model whose adapters are merged, reload it through the Auto classes, and compare the two in fp32.

    Returns the largest difference of a logit over records of text, one image and two images, each encoded by the
    reloaded processor. Raises ModelError when it is more than rounding explains, RunError when `out` cannot be written.
    """
    vlm, encoder = opened.model.vlm, opened.encoder

    def write(folder: Path) -> None:
        plain = plain_model(type(vlm.hf), vlm.hf.config, dense_state(vlm.hf), dtype)
        plain.generation_config = generation_config(vlm.hf, encoder.tokenizer, encoder.stop_ids)
        plain.save_pretrained(folder, max_shard_size=SHARD)
        vlm.processor.hf.save_pretrained(folder)

    return write_and_prove(out, write, lambda folder: _prove(vlm, folder, dtype), origin)


def export_ready_adapter(
    opened: OpenedReady, out: Path, dtype: torch.dtype, origin: Origin = UNNAMED, base_name: str = ""
) -> float:
    """Write `out/adapter` for the language model and, unless its base is the recipe's model itself, `out/base`.

    The base holds a trained image side and the dense equivalent of 4-bit weights. Returns the largest difference of a
    logit over the records of `export_ready`. Raises ConfigError for a run without adapters.
    """
    tune, vlm = opened.config.tune, opened.model.vlm
    if tune.kind not in ("lora", "qlora"):
        raise ConfigError(f"--to peft: this run trained with tune.kind: {tune.kind}, which leaves no adapter. Use hf")
    own_base, name = needs_own_base(opened), adapter_base(opened, out, base_name)
    for part in vlm.image_modules():
        merge_adapters(part)  # they belong to the base
    densify(vlm.hf)
    trained = _trained_logits(vlm)

    def write(folder: Path) -> None:
        save_adapter(vlm.text, tune, folder / ADAPTER, name, vlm.hf)
        vlm.processor.hf.save_pretrained(folder / ADAPTER)
        generation_config(vlm.hf, opened.encoder.tokenizer, opened.encoder.stop_ids).save_pretrained(folder / ADAPTER)
        if own_base:
            strip_adapters(vlm.hf)
            export_ready(opened, folder / BASE, dtype)

    def prove(folder: Path) -> float:
        below = folder / BASE if own_base else local_folder(opened.config.model.llm, (*TEXT_FILES, "*.safetensors"))
        # A base of higher precision than the run's is rounded as in training.
        trained_on = torch.float32 if own_base else dtype_of(opened.config)
        with as_model_error(f"{below}: cannot be loaded to check the adapter on it"):
            base = nn.Module.float(hf_loaders.load_model(AutoModelForImageTextToText, below, dtype=trained_on))
        hf_loaders.load_adapter(base, folder / ADAPTER)  # in place
        reloaded = ReadyVlm(base.eval(), _reloaded_processor(vlm, folder / ADAPTER))
        return _largest_difference(reloaded, trained, dtype if own_base else torch.float32)

    return write_and_prove(out, write, prove, origin)


def _prove(vlm: ReadyVlm, folder: Path, dtype: torch.dtype) -> float:
    reloaded = ReadyVlm(reload(AutoModelForImageTextToText, folder), _reloaded_processor(vlm, folder))
    return _largest_difference(reloaded, _trained_logits(vlm), dtype)


def _reloaded_processor(vlm: ReadyVlm, folder: Path) -> ReadyProcessor:
    with as_model_error(f"{folder}: the exported processor does not load again"):
        processor: HfProcessor = hf_loaders.load_processor(folder)
    return vlm.processor.with_processor(processor)


def _trained_logits(vlm: ReadyVlm) -> list[Tensor]:
    """[L, V] of each record, in fp32."""
    encoder = ReadyEncoder(vlm.processor)
    found: list[Tensor] = []
    with tempfile.TemporaryDirectory(prefix="eyegraft-proof-") as images, proving(vlm.hf):
        for record in proof_records(Path(images), vlm.processor.takes_suffix).values():
            [sample] = encoder.encode(record)
            found.append(every_position(vlm, collate_ready([sample], vlm).to(vlm.hf.device)).cpu())
    return found


def _largest_difference(reloaded: ReadyVlm, trained: list[Tensor], dtype: torch.dtype) -> float:
    """Of logits over all records, each encoded by the reloaded processor."""
    with tempfile.TemporaryDirectory(prefix="eyegraft-proof-") as images, torch.no_grad():
        records = proof_records(Path(images), reloaded.processor.takes_suffix).values()
        pairs = zip(records, trained, strict=True)
        return max(
            difference(PlainRecord.of(reloaded, record).logits(reloaded)[: len(ours)], ours, dtype)
            for record, ours in pairs
        )
