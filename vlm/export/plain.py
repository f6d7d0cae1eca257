"""Export of an opened text or vision run without adapters to a Hugging Face folder."""

from pathlib import Path

import torch

from llm.files.folder_replacement import UNNAMED, Origin
from llm.model.hf_export import export_llm
from vlm.export.hf import export_vlm
from vlm.export.ready import export_ready
from vlm.model.forward import VlmModel
from vlm.model.runs import OpenedRun
from vlm.ready.forward import ReadyModule


def export_plain(opened: OpenedRun, out: Path, dtype: torch.dtype, origin: Origin = UNNAMED) -> float:
    """Write, reload and compare; returns the largest difference of a logit. Adapters must be merged or removed."""
    encoder = opened.encoder
    rest = (encoder.tokenizer, encoder.template.jinja, out, dtype, encoder.stop_ids, origin)
    if isinstance(opened.model, VlmModel):
        return export_vlm(opened.model.vision, *rest)
    if isinstance(opened.model, ReadyModule):
        return export_ready(opened, out, dtype, origin)
    return export_llm(opened.model.llm, *rest)
