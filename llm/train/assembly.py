"""A text run put together: its model opened, its parts made, trained, and a finished run opened again.

What vision runs share with text runs is here too; `vlm.model.assembly` adds the rest.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Generic, Self, TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel

from llm import distributed
from llm.chat.chat_model import ChatModel, question
from llm.chat.prompt_embedding import text_embedder
from llm.chat.sampling import Sampling
from llm.config.rebased_paths import CWD
from llm.config.schema import Evaluation, Probe, RunConfig, TextRunConfig, run_folder
from llm.config.yaml_loader import resolve_yaml
from llm.data.batch import PackedBatch
from llm.data.batch_shard import BatchShard
from llm.encoding.chat_template import load_template
from llm.encoding.encoder import Encoder
from llm.errors import ConfigError
from llm.files.saved_checkpoints import find_checkpoint, weights_digest
from llm.forward.text_model import TextModel
from llm.log import logger
from llm.model.activation_checkpointing import recompute
from llm.model.model_folder import local_folder
from llm.model.precision import SomeRun, choose_dtype, this_machine, with_dtype
from llm.model.pretrained import load_tokenizer
from llm.track.check import check_trackers
from llm.train.build_model import build_text_model
from llm.train.checkpoint_state import load_weights, verified_weights
from llm.train.earlier_runs import EarlierRun, earlier_runs, read_text_run
from llm.train.optimizer import ParamGroup
from llm.train.provenance import base_digest
from llm.train.run import run_training
from llm.train.run_data import collate_text
from llm.train.run_folder import begun_dtype
from llm.train.run_parts import Batch, BatchT, RunParts

MakeEvaluation = Callable[[Evaluation, ChatModel, bool], Callable[[], Mapping[str, float]]]
"""(plan, model, whether every process has to take part in every answer) -> what is called at each evaluation."""
ConfigT_co = TypeVar("ConfigT_co", bound=RunConfig, covariant=True)
ModelT_co = TypeVar("ModelT_co", bound=nn.Module, covariant=True)


@dataclass(frozen=True, slots=True)
class OpenedModel(Generic[ConfigT_co, ModelT_co]):
    """A recipe's model with the weights of a run, ready to answer, to train or to export."""

    config: ConfigT_co
    model: ModelT_co
    encoder: Encoder
    groups: list[ParamGroup]
    chat_model: ChatModel

    def placed(self) -> Self:
        """Move the model, in place, to the device of this process."""
        self.model.to(distributed.device())
        return self

    def at_checkpoint(self, folder: Path, checkpoint: str = "latest") -> Self:
        """Load the weights of a run's checkpoint, in place, and set the model to eval mode."""
        load_weights(self.model, verified_weights(find_checkpoint(folder, checkpoint)))
        self.model.eval()
        return self


class OpenedText(OpenedModel[TextRunConfig, TextModel]):
    """A text model, opened."""

    __slots__ = ()


def train_text(
    config: TextRunConfig,
    base: Path,
    anyway: bool = False,
    evaluation: MakeEvaluation | None = None,
    parts_of: "Callable[[OpenedText], RunParts[Batch]] | None" = None,
) -> Path:
    """Train a text run, or continue it; returns its folder. `parts_of`: the parts of its stage; None: supervised.

    Relative paths of its data begin at `base`. `anyway`: continue although recipe or data changed since it began.
    `evaluation` makes what evaluates the run where the recipe has `train.evaluate`.
    """
    check_tracking(config)
    config = resolve_dtype(config)
    torch.manual_seed(config.seed)  # adapters are initialized below
    opened = open_text_model(config)
    _refuse_uneven(opened.model.llm, config.parallel.sequence)
    parts = evaluated((parts_of or text_parts)(opened), opened, evaluation)
    return run_training(config, parts, resolve_yaml(config), base, anyway)


def evaluated(
    parts: RunParts[BatchT], opened: OpenedModel[ConfigT_co, ModelT_co], evaluation: MakeEvaluation | None
) -> RunParts[BatchT]:
    """The parts with what evaluates the run, if its recipe says so. Raises as `evaluation`, before the first step."""
    plan = opened.config.train.evaluate
    if plan is None:
        return parts
    assert evaluation is not None, "a recipe with train.evaluate is trained by vlm.evaluate.train_run"
    return replace(parts, evaluate=evaluation(plan, opened.chat_model, opened.config.parallel.zero == 3))


def check_tracking(config: RunConfig) -> None:
    """Raise ConfigError, in the first process, where a tracker of the recipe cannot be used."""
    if config.track and distributed.ranks().first:
        check_trackers(config.track)


def open_text_model(config: TextRunConfig, home: Path = CWD) -> OpenedText:
    """Build the recipe's model with what the runs before it trained, and open what this one trains.

    Relative paths in the recipes of those runs begin at `home`.
    """
    tokenizer = load_tokenizer(config.model.llm)
    model, groups = build_text_model(config, earlier_runs(config, partial(read_text_run, home=home)))
    recompute(model.llm, config)
    encoder = Encoder(tokenizer, load_template(config.data.template, tokenizer))
    return OpenedText(config, model, encoder, groups, _chat_model(model.llm, encoder))


def text_parts(opened: OpenedText) -> RunParts[PackedBatch | BatchShard]:
    """What the training loop needs of an opened text model."""
    train, sequence = opened.config.train, opened.config.parallel.sequence
    return RunParts(
        model=opened.model,
        encoder=opened.encoder,
        groups=opened.groups,
        collate=partial(collate_text, fold=train.fold == "auto", sequence=sequence),
        answer=probe_answerer(opened.chat_model),
        must_move=("llm",),
        sequence=sequence,
        bases=partial(_text_digests, opened.config),
    )


def resolve_dtype(config: SomeRun) -> SomeRun:
    """The recipe with `train.dtype: auto` resolved: to the dtype the run began in or else to what this machine is fast
    in. The decision is logged. Of several processes the first decides, since their machines may differ.
    """
    resolved, line = choose_dtype(config, this_machine(), begun_dtype(run_folder(config), type(config)))
    if line:
        logger.info(line)
    if config.train.dtype != "auto":
        return resolved
    bf16 = distributed.all_reduce_sum(torch.tensor(float(distributed.ranks().first and resolved.train.dtype == "bf16")))
    return with_dtype(resolved, "bf16" if bf16 else "fp32")


def probe_answerer(chat_model: ChatModel) -> Callable[[Probe], str]:
    """What answers the recipe's probes, by greedy decoding."""

    def answer(probe: Probe) -> str:
        images = (probe.image,) if probe.image else ()
        messages = question(probe.prompt, images, probe.system)
        return chat_model.answer(messages, Sampling(max_new_tokens=probe.max_new_tokens))

    return answer


def base_digests(config: RunConfig, earlier: list[EarlierRun], cache: Path) -> dict[str, str]:
    """Hashes of the LLM's folder and of the `earlier` runs' weights, by the recipe key that names them."""
    found = {"model.llm": base_digest(local_folder(config.model.llm, ("config.json", "*.safetensors")), cache)}
    for number, (_, folder) in enumerate(reversed(earlier)):
        found["from" + ".from" * number] = weights_digest(find_checkpoint(folder))
    return found


def _text_digests(config: TextRunConfig, cache: Path) -> dict[str, str]:
    return base_digests(config, earlier_runs(config, read_text_run), cache)


def _chat_model(llm: PreTrainedModel, encoder: Encoder) -> ChatModel:
    return ChatModel(llm, llm, encoder, text_embedder(llm.get_input_embeddings()))


def _refuse_uneven(llm: PreTrainedModel, sequence: int) -> None:
    """Raise ConfigError where `parallel.sequence` divides the processes or the attention heads unevenly."""
    world, heads = distributed.ranks().world, llm.config.get_text_config().num_attention_heads
    if world % sequence:
        raise ConfigError(f"parallel.sequence is {sequence}, which does not divide the {world} processes of this run")
    if heads % sequence:
        raise ConfigError(f"parallel.sequence is {sequence}, which does not divide the LLM's {heads} attention heads")
