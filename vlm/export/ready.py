"""Export of a finetuned ready model: its own class and its own processor, compared with plain transformers."""

import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText

from llm.files.folder_replacement import UNNAMED, Origin
from llm.library_errors import as_model_error
from llm.model import hf_loaders
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
from llm.train.assembly import OpenedModel
from vlm.config import ReadyRunConfig
from vlm.ready.batch import collate_ready
from vlm.ready.encoder import ReadyEncoder
from vlm.ready.forward import ReadyModule, every_position
from vlm.ready.processor import HfProcessor
from vlm.ready.proof_records import PlainRecord, proof_records
from vlm.ready.ready_model import ReadyVlm


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


def _prove(vlm: ReadyVlm, folder: Path, dtype: torch.dtype) -> float:
    with as_model_error(f"{folder}: the exported processor does not load again"):
        processor: HfProcessor = hf_loaders.load_processor(folder)
    reloaded = ReadyVlm(reload(AutoModelForImageTextToText, folder), vlm.processor.with_processor(processor))
    encoder = ReadyEncoder(vlm.processor)
    found = 0.0
    with tempfile.TemporaryDirectory(prefix="eyegraft-proof-") as images, proving(vlm.hf):
        for record in proof_records(Path(images)).values():
            [sample] = encoder.encode(record)
            trained = every_position(vlm, collate_ready([sample], vlm).to(vlm.hf.device)).cpu()
            plain = PlainRecord.of(reloaded, record).logits(reloaded)[: len(trained)]
            found = max(found, difference(plain, trained, dtype))
    return found
