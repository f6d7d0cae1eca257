"""`eyegraft export`: a run's model in the form that others read, proved by reading it back."""

from pathlib import Path
from typing import Literal

from llm.tuning import merge_adapters
from vlm.card import write_card
from vlm.export_llava import export_llava
from vlm.export_peft import export_peft
from vlm.export_plain import export_plain
from vlm.run import DTYPES, open_run

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
        merge_adapters(opened.model)
        difference = export_plain(opened, out, written)
    write_card(run, checkpoint, opened, out, to, dtype, difference)
    print(f"{out}: {PROVED[to]} by at most {difference:.2e}")
    return difference


PROVED = {
    "hf": "reloaded by plain transformers, logits differ",
    "peft": "reloaded by plain peft, logits differ",
    "llava": "read back into LLaVA's own layers, rows differ",
}
