"""A run folder, a Hugging Face folder or an adapter's folder as a ChatModel."""

from pathlib import Path

from llm.chat.chat_model import ChatModel
from llm.config.rebased_paths import CWD
from llm.errors import ConfigError
from llm.log import logger
from llm.model.model_folder import named_folder
from llm.model.quantization import quantise
from vlm.model.adapter_folder import AdapterFolder, find_adapter, require_adapter
from vlm.model.merged_folder import ROUNDING, adapters_of_earlier_runs
from vlm.model.runs import open_run
from vlm.model.shared_tensors import OnModel, ignore


def open_chat_model(
    path: Path,
    checkpoint: str = "latest",
    adapter: str = "",
    bits: int = 0,
    home: Path = CWD,
    complete: OnModel = ignore,
) -> ChatModel:
    """Open a run folder, a Hugging Face folder with the chat template that it holds, or an adapter on its base.

    `adapter` is a folder, or a name of a hub, with an adapter for a Hugging Face folder; runs and adapters have their
    own, and it is a ConfigError for them. `bits` 4 or 8 quantises the weights. Relative paths in a run's recipe are
    relative to `home`.
    `complete` is called with the module that has all its weights, before it is moved to the device of this process.
    """
    if bits not in (0, 4, 8):
        raise ConfigError(f"bits: found {bits}; choose 4 or 8, or leave it out")
    given = require_adapter(named_folder(adapter)) if adapter else None
    if (path / "config.json").exists():
        return _open_hf_folder(path, given, bits, complete)
    own = find_adapter(path)
    if given is not None:
        kind = "a run" if own is None else "an adapter"
        raise ConfigError(f"--adapter is for model folders; {path} is {kind}, which brings its own. Leave it out")
    if own is not None:
        return _open_hf_folder(own.base(), own, bits, complete)
    return _open_run(path, checkpoint, bits, home, complete)


def _open_hf_folder(folder: Path, adapter: AdapterFolder | None, bits: int, complete: OnModel) -> ChatModel:
    from vlm.model.hf_folder import open_hf_folder  # here: a text run is opened without vision code

    return open_hf_folder(folder, adapter, bits, complete)


def _open_run(run: Path, checkpoint: str, bits: int, home: Path, complete: OnModel) -> ChatModel:
    """The run's model; with `bits`, the linears of its language model are rounded, below its adapters if it has any."""
    opened = open_run(run, checkpoint, home=home)
    in_four_bits = opened.config.tune.in_four_bits
    if bits == 8 and in_four_bits:
        raise ConfigError(f"--bits 8: {run} was trained on 4-bit weights, and opens with them. Leave it out, or say 4")
    if bits and adapters_of_earlier_runs(opened.config, home):
        logger.warning(f"{run}: adapters of earlier runs are merged into its weights. {ROUNDING}")
    if bits and not in_four_bits:
        text = opened.chat_model.text
        quantise(text, bits, text.dtype)
    complete(opened.model)
    return opened.placed().chat_model
