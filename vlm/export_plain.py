"""An opened run without adapters, text or vision, as a plain Hugging Face folder."""

from pathlib import Path

import torch

from llm.export import export_llm
from llm.replace import UNNAMED, Origin
from vlm.export import export_vlm
from vlm.forward import VlmModel
from vlm.run import Opened


def export_plain(opened: Opened, out: Path, dtype: torch.dtype, origin: Origin = UNNAMED) -> float:
    """Write, reload and compare; returns the largest difference of a logit. Its adapters are merged or stripped."""
    encoder = opened.encoder
    rest = (encoder.tokenizer, encoder.template.jinja, out, dtype, encoder.stop_ids, origin)
    if isinstance(opened.model, VlmModel):
        return export_vlm(opened.model.vision, *rest)
    return export_llm(opened.model.llm, *rest)
