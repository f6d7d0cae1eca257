"""`eyegraft train FILE --dry-run`: what would train, on what, for how many steps, in how much memory."""

import tempfile
from pathlib import Path

from torch import nn

from llm.config import RunConfig
from llm.errors import ConfigError
from llm.optim import ParamGroup
from llm.preflight import largest_pack
from llm.run import Material, loader_of, read_material
from vlm.config import AnyConfig, PipelineConfig, load_steps
from vlm.run import Opened, open_model, parts_of

GIB = 2**30


def dry_run(config: AnyConfig, source: Path) -> None:
    """Build the model, read the data, plan the steps and print it all; nothing is written or trained."""
    if isinstance(config, PipelineConfig):
        for path, step in load_steps(config, source):
            print(f"\n{path}")
            if isinstance(step, RunConfig):
                _describe(step)
            else:
                print(f"  {step.stage}: nothing trains")
        return
    if not isinstance(config, RunConfig):
        raise ConfigError(f"--dry-run: stage {config.stage} trains nothing; `eyegraft validate` checks it")
    _describe(config)


def _describe(config: RunConfig) -> None:
    # The weights of an earlier run change no number here, and that run may not exist yet.
    opened = open_model(config.model_copy(update={"start": ""}))
    parts = parts_of(opened)
    with tempfile.TemporaryDirectory() as folder:
        material = read_material(config, parts, Path(folder), Path.cwd())
        for line in material.train.sources:
            print(f"  {line}")
        for key, value in material.facts.items():
            print(f"  {key:<22} {value:>14,}")
        for group in opened.groups:
            count = sum(parameter.numel() for parameter in group.parameters)
            print(f"  trains {group.name:<15} {count:>14,} parameters at {group.lr:g}")
        for name, value in forecast(opened, material, opened.groups).items():
            print(f"  memory {name:<15} {value:>14.2f} GiB")


def forecast(opened: Opened, material: Material, groups: list[ParamGroup]) -> dict[str, float]:
    """GiB by part, an estimate: weights, fp32 gradients and masters, AdamW's two moments, and activations.

    Activations of a layer hold about 16 values of the hidden size and 4 of the intermediate size a token (Korthikanti
    et al. 2022, arXiv 2205.05198, without attention scores); under recomputation only a layer's input stays.
    """
    model: nn.Module = opened.model
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    trained = [parameter for group in groups for parameter in group.parameters]
    masters = sum(parameter.numel() * 4 for parameter in trained if parameter.element_size() < 4)
    gradients = sum(parameter.numel() * 4 for parameter in trained)
    moments = sum(parameter.numel() * 8 for parameter in trained)
    loader = loader_of(parts_of(opened), material)
    tokens = int(material.train.lengths[list(largest_pack(loader))].sum())
    text = opened.speaker.text.config.get_text_config()
    width = 16 * text.hidden_size + 4 * text.intermediate_size
    if opened.config.train.recompute:
        width = text.hidden_size
    size = 2 if opened.config.train.dtype == "bf16" else 4
    activations = tokens * text.num_hidden_layers * width * size
    parts = {
        "weights": weights,
        "masters": masters,
        "gradients": gradients,
        "moments": moments,
        "activations": activations,
    }
    return {name: value / GIB for name, value in parts.items()} | {"in all": sum(parts.values()) / GIB}
