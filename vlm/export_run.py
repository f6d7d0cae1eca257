"""`eyegraft export`: a run's model as a plain Hugging Face folder, proved by reloading it."""

from pathlib import Path
from typing import Literal

from llm.export import export_llm
from llm.tuning import merge_adapters
from vlm.export import export_vlm
from vlm.forward import VlmModel
from vlm.run import DTYPES, open_run


def export(run: Path, out: Path, dtype: Literal["bf16", "fp32"] = "fp32", checkpoint: str = "latest") -> float:
    """Merge, write, reload and compare; returns the largest difference between logits."""
    opened = open_run(run, checkpoint)
    model, encoder = opened.model, opened.encoder
    rest = (encoder.tokenizer, encoder.template.jinja, out, DTYPES[dtype], encoder.stop_ids)
    if isinstance(model, VlmModel):
        merge_adapters(model.vision)
        difference = export_vlm(model.vision, *rest)
    else:
        merge_adapters(model.llm)
        difference = export_llm(model.llm, *rest)
    print(f"{out}: reloaded by plain transformers, logits differ by at most {difference:.2e}")
    return difference
