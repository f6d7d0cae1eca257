"""A run folder or a Hugging Face folder as a ChatModel."""

from pathlib import Path

from llm.chat.chat_model import ChatModel
from llm.config.rebased_paths import CWD
from llm.errors import ConfigError
from vlm.model.runs import open_run


def open_chat_model(
    path: Path, checkpoint: str = "latest", adapter: str = "", bits: int = 0, home: Path = CWD
) -> ChatModel:
    """Open a run folder, or a Hugging Face folder with the chat template that it holds.

    `adapter` and `bits` are for the latter: ConfigError for a run, which has its own adapters and precision. Relative
    paths in a run's recipe are relative to `home`.
    """
    if bits not in (0, 4, 8):
        raise ConfigError(f"bits: found {bits}; choose 4 or 8, or leave it out")
    if (path / "config.json").exists():
        from vlm.model.hf_folder import open_hf_folder  # here: a text run is opened without vision code

        return open_hf_folder(path, adapter, bits)
    if adapter or bits:
        raise ConfigError(f"adapter and bits are for model folders; {path} is a run. Export it first")
    return open_run(path, checkpoint, home=home).placed().chat_model
