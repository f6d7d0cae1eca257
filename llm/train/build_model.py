"""How a recipe's text model is built, with weights for a run or on the meta device for a forecast."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from torch import nn

from llm.attention.interface import use_packed_attention
from llm.config.schema import RunConfig
from llm.files.saved_checkpoints import find_checkpoint
from llm.forward.chunked_loss import in_chunks
from llm.forward.text_model import TextModel
from llm.lean import decoder
from llm.model.lora import apply_tuning
from llm.model.merge import merge_adapters
from llm.model.meta_model import on_meta_unless
from llm.model.precision import dtype_of
from llm.model.pretrained import load_llm
from llm.train.checkpoint_state import load_weights, verified_weights
from llm.train.earlier_runs import EarlierRun
from llm.train.optimizer import ParamGroup

Run = TypeVar("Run", bound=RunConfig)


def build_text_model(
    config: RunConfig, earlier: Sequence[EarlierRun] = (), weights: bool = True
) -> tuple[TextModel, list[ParamGroup]]:
    """The recipe's model with what the `earlier` runs, oldest first, trained merged into it, and what it trains.

    Without `weights` every tensor is on the meta device, and folders need hold config.json only. Activation
    checkpointing is not applied yet. Raises ModelError, ConfigError and, for an earlier run, RunError.
    """
    with on_meta_unless(weights):
        llm = load_llm(config.model.llm, dtype_of(config), config.tune.in_four_bits, weights=weights)
        model = TextModel(llm, decoder.lean_mode(config), in_chunks(config))
        merge_earlier_runs(model, earlier, lambda run: apply_tuning(llm, run.tune), weights)
        use_packed_attention(llm)
        llm.requires_grad_(False)
        parameters = apply_tuning(llm, config.tune)
    return model, [ParamGroup("llm", parameters, config.optim.lr)]


def merge_earlier_runs(
    model: nn.Module, earlier: Iterable[tuple[Run, Path]], open_parameters: Callable[[Run], object], weights: bool
) -> None:
    """Bring what earlier runs trained into `model`, in place and in order, each by its own `open_parameters`.

    Their adapters are merged; a 4-bit linear that had none stays 4-bit. Without `weights` only the shapes follow.
    """
    for run, folder in earlier:
        open_parameters(run)
        if weights:
            load_weights(model, verified_weights(find_checkpoint(folder)))
        merge_adapters(model, dense=False)
