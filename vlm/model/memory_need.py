"""What a model takes in memory, before it is loaded: its weights, and the cache of its answers."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn
from transformers import AutoModelForImageTextToText, PreTrainedModel

from llm.config.rebased_paths import CWD
from llm.config.schema import TextRunConfig
from llm.decoding.prefix_cache import ROOM
from llm.files.untrusted_json import read_object
from llm.model import hf_loaders
from llm.model.meta_model import META
from llm.model.model_folder import CONFIG_FILE, local_folder
from llm.model.precision import DTYPES, this_machine
from llm.model.pretrained import load_llm
from llm.train.build_model import build_text_model
from vlm.config import ReadyRunConfig, VlmRunConfig
from vlm.model.adapter_folder import find_adapter
from vlm.model.run_recipe import read_run_config


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes of a model's weights, and of the keys and values of its answers."""

    weights: int
    cache: int

    @property
    def total(self) -> int:
        """Both."""
        return self.weights + self.cache


def memory_need(
    path: Path, together: int, new_tokens: int, adapter: str = "", bits: int = 0, home: Path = CWD
) -> MemoryNeed:
    """What the model of a run, model or adapter folder takes that answers `together` requests of `new_tokens` each.

    The cache is that of the answers at their limit and of the prompts that are remembered; prompts that are read at
    the moment come on top. Weights that other models in memory have too are counted. Raises as `open_chat_model`.
    """
    model, extra = _without_values(path, adapter, bits, home)
    text = model.config.get_text_config()
    held = min(new_tokens, int(text.to_dict().get("max_position_embeddings") or new_tokens)) * together
    return MemoryNeed(_bytes(model, bits) + extra, held * token_bytes(model) + ROOM)


def token_bytes(model: PreTrainedModel) -> int:
    """Bytes of the keys and values of one token; 0 for a model whose config names no attention heads."""
    settings = model.config.get_text_config().to_dict()
    heads = settings.get("num_attention_heads") or 0
    size = settings.get("head_dim") or (settings["hidden_size"] // heads if heads else 0)
    layers, kept = settings.get("num_hidden_layers") or 0, settings.get("num_key_value_heads") or heads
    return 2 * int(layers) * int(kept) * int(size) * model.dtype.itemsize


def _without_values(path: Path, adapter: str, bits: int, home: Path) -> tuple[PreTrainedModel, int]:
    """The model on the meta device, and the bytes of an adapter that comes on top."""
    if (path / CONFIG_FILE).is_file():
        return _of_folder(path, bits), _file_bytes(Path(adapter)) if adapter else 0
    own = find_adapter(path)
    if own is not None:
        return _of_folder(own.base(), bits), _file_bytes(own.path)
    return _of_run(path, home), 0


def _of_folder(folder: Path, bits: int) -> PreTrainedModel:
    dtype = DTYPES[this_machine().auto_dtype]
    if "vision_config" not in read_object(folder / CONFIG_FILE):
        return load_llm(str(folder), dtype, four_bit=bits == 4, weights=False)
    config = hf_loaders.load_config(folder, AutoModelForImageTextToText.__name__)
    with META:
        return hf_loaders.empty_model(AutoModelForImageTextToText, config, dtype=dtype)


def _of_run(run: Path, home: Path) -> PreTrainedModel:
    config = read_run_config(run, home)
    if isinstance(config, TextRunConfig):
        return build_text_model(config, weights=False)[0].llm
    if isinstance(config, ReadyRunConfig):
        return _of_folder(local_folder(config.model.llm, (CONFIG_FILE,)), 0)
    assert isinstance(config, VlmRunConfig), "a run trains text or vision"
    from vlm.model.build_model import build_vision_model  # here: a text run is opened without vision code

    return build_vision_model(config, weights=False)[0].vision.hf


def _bytes(model: nn.Module, bits: int) -> int:
    """Bytes of the tensors, each once; with `bits`, the plain linears of repeated layers have so many a weight."""
    rounded = {
        id(module.weight): 8 * module.weight.itemsize
        for name, module in model.named_modules()
        if bits and type(module) is nn.Linear and any(part.isdigit() for part in name.split("."))
    }
    tensors = (*model.parameters(), *model.buffers())
    return sum(one.nbytes * bits // rounded[id(one)] if id(one) in rounded else one.nbytes for one in tensors)


def _file_bytes(folder: Path) -> int:
    """Bytes of the weights in an adapter's folder."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))
