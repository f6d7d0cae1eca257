"""`eyegraft export`: a run's model in the form that others read, proved by reading it back."""

from pathlib import Path
from typing import Literal

import torch

from llm.export import export_llm
from llm.tuning import merge_adapters
from vlm.card import write_card
from vlm.export import export_vlm
from vlm.export_llava import export_llava
from vlm.export_peft import export_peft
from vlm.forward import VlmModel
from vlm.run import DTYPES, Opened, open_run

Format = Literal["hf", "peft", "llava"]


def export(
    run: Path, out: Path, dtype: Literal["bf16", "fp32"] = "fp32", checkpoint: str = "latest", to: Format = "hf"
) -> float:
    """Write, reload, compare, and tell in a model card; returns the largest difference found."""
    opened = open_run(run, checkpoint)
    written = DTYPES[dtype]
    if to == "peft":
        difference = export_peft(opened, out, written)
    elif to == "llava":
        difference = export_llava(opened, out)
    else:
        difference = export_merged(opened, out, written)
    write_card(run, checkpoint, opened, out, to, dtype, difference)
    print(f"{out}: {PROVED[to]} by at most {difference:.2e}")
    return difference


PROVED = {
    "hf": "reloaded by plain transformers, logits differ",
    "peft": "reloaded by plain peft, logits differ",
    "llava": "read back into LLaVA's own layers, rows differ",
}


def export_merged(opened: Opened, out: Path, dtype: torch.dtype) -> float:
    """A plain Hugging Face folder with the adapters in the weights."""
    model, encoder = opened.model, opened.encoder
    rest = (encoder.tokenizer, encoder.template.jinja, out, dtype, encoder.stop_ids)
    if isinstance(model, VlmModel):
        merge_adapters(model.vision)
        return export_vlm(model.vision, *rest)
    merge_adapters(model.llm)
    return export_llm(model.llm, *rest)
