"""A VLM folder of any class that transformers' AutoModelForImageTextToText opens, and what is asked of its class.

The pack goes through the model's own forward pass, which takes image features that were computed before
(`mm_encoder_outputs`). Nothing of a model is written again here, and no model is known by its name.
"""

import inspect
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from llm.errors import ModelError
from llm.library_errors import as_model_error
from llm.model import hf_loaders
from llm.model.causal_lm import head_of
from llm.model.model_folder import TEXT_FILES, local_folder, read_model_config
from llm.model.pretrained import refuse_gaps
from llm.model.quantization import forbid_repacking, read_rows_exactly
from llm.train.process_memory import free_memory
from vlm.ready.processor import TOKEN_TYPES, HfProcessor, ReadyProcessor, floats_as
from vlm.ready.quantised import text_alone
from vlm.ready.ways import Way, use_way

PRECOMPUTED = "mm_encoder_outputs"
Inputs = dict[str, Tensor]  # tensors of a processor by name


class ReadyVlm:
    """A model `hf` and its processor. Its body is the model without the head, its text the language model inside."""

    def __init__(self, hf: PreTrainedModel, processor: ReadyProcessor) -> None:
        self.hf, self.processor = hf, processor
        self.body = cast(PreTrainedModel, hf.base_model)
        self.text = cast(PreTrainedModel, hf.get_decoder())
        self.head = head_of(hf)
        self._takes = frozenset(inspect.signature(self.body.forward).parameters)
        self._rope = self._own_method("get_rope_index")
        inner = {id(parameter) for part in (self.text, self.head) for parameter in part.parameters()}
        self.image_side = [parameter for parameter in hf.parameters() if id(parameter) not in inner]
        self.loose = list(self.body.parameters(recurse=False))
        """Parameters of the body itself, such as a mark at the end of image lines: no call of a module reads them."""
        self.with_loose: Callable[[], AbstractContextManager[None]] = nullcontext
        """Inside, they are all here: `generate` reads them before it calls the body, where ZeRO-3 gathers them."""
        self.way = Way.ALONE

    @property
    def name(self) -> str:
        """The model's class, for messages."""
        return type(self.hf).__name__

    @property
    def has_own_positions(self) -> bool:
        """Whether the class computes positions of images itself."""
        return self._rope is not None

    @property
    def image_side_trains(self) -> bool:
        """Whether any parameter of the image side is trained, adapters on it included."""
        parameters = (parameter for part in self.image_modules() for parameter in part.parameters())
        return any(parameter.requires_grad for parameter in (*self.loose, *parameters))

    def takes(self, name: str) -> bool:
        """Whether the class's forward pass takes an input of this name."""
        return name in self._takes

    def image_modules(self) -> list[nn.Module]:
        """The modules of the image side: towers and projectors."""
        return [part for part in self.body.children() if part is not self.text]

    def towers(self) -> list[PreTrainedModel]:
        """Those of them whose layers' activations can be computed again in the backward pass."""
        parts = [part for part in self.image_modules() if isinstance(part, PreTrainedModel)]
        return [part for part in parts if part.supports_gradient_checkpointing]

    def image_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Weights and buffers of the image side by name."""
        yield from self.body.named_parameters(recurse=False)
        for name, part in self.body.named_children():
            if part is not self.text:
                yield from ((f"{name}.{inner}", tensor) for inner, tensor in part.named_parameters())
                yield from ((f"{name}.{inner}", tensor) for inner, tensor in part.named_buffers())

    @property
    def position_inputs(self) -> frozenset[str]:
        """Names of the processor's tensors from which the class computes positions; none without an own rope index."""
        return frozenset() if self._rope is None else _parameters(self._rope)

    def attend(self, way: Way) -> None:
        """Attend to packs in this way from now on."""
        use_way(self.text, way)
        self.way = way

    def token_types(self, ids: Tensor, answers: Tensor | None = None) -> Tensor | None:
        """[L] int64; None for a class that does not ask.

        1 for tokens of images and 0 for text; of a prefix language model 1 for `answers` [L] and 0 for the prompt.
        """
        if not self._takes & {*TOKEN_TYPES}:
            return None
        if self.processor.takes_suffix:
            return torch.zeros_like(ids, dtype=torch.int64) if answers is None else answers.long()
        return torch.tensor(self.processor.token_types(ids.tolist()), dtype=torch.int64)

    def positions(self, ids: Tensor, types: Tensor | None, inputs: dict[str, Tensor]) -> Tensor:
        """[1, L] or [3, 1, L] positions of one unpacked sequence [L], by the model's own rope index if it has one."""
        if self._rope is None:
            return torch.arange(len(ids))[None]
        named = {"input_ids": ids[None], TOKEN_TYPES[0]: None if types is None else types[None], **inputs}
        found = self._rope(**{name: named[name] for name in _parameters(self._rope) if name in named})[0]
        return cast(Tensor, found)

    def joined(self, units: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """What the rope index reads of several units, such as the grids of their images; nothing without one."""
        names = [name for name in (units[0] if units else ()) if name in self.position_inputs]
        return {name: torch.cat([unit[name] for unit in units]) for name in names}

    def features(self, inputs: dict[str, Tensor]) -> "ImageRows":
        """The rows of a record's images in the language model's width, in the order of their tokens."""
        compute = self._own_method("get_image_features")
        assert compute is not None, "a class without it is refused when it is opened"
        fitting = {name: value for name, value in inputs.items() if name in _parameters(compute)}
        output = compute(**floats_as(fitting, self.hf.dtype, self.hf.device), return_dict=True)
        layers = tuple(_joined(layer) for layer in output.get("deepstack_features") or ())
        return ImageRows(_joined(output.pooler_output), layers, isinstance(output.pooler_output, Tensor))

    def hidden(
        self, ids: Tensor, positions: Tensor, types: Tensor | None, images: Sequence["ImageRows"], **packed: object
    ) -> Tensor:
        """[T, hidden] after the final norm, of ids [1, T] with the rows of the images of the pack in its order.

        `packed` are keyword arguments for the attention of `way`.
        """
        given: dict[str, Any] = {"input_ids": ids, "position_ids": positions, "use_cache": False, **packed}
        given |= {name: types for name in TOKEN_TYPES if name in self._takes}
        if images:
            given[PRECOMPUTED] = {"image": _precomputed(images)}
        return cast(Tensor, self.body(**given).last_hidden_state[0])

    def _own_method(self, name: str) -> Callable[..., Any] | None:
        """A method of the body's class; None if it has none of this name."""
        return cast(Callable[..., Any], getattr(self.body, name)) if name in dir(self.body) else None


@dataclass(frozen=True, slots=True)
class ImageRows:
    """Features [R, hidden] at the positions of images, and those of each layer that gets its own there (deepstack)."""

    rows: Tensor
    layers: tuple[Tensor, ...]
    in_a_tensor: bool  # how the class returns them: a tensor of images, or a tuple of tensors

    def to(self, device: torch.device) -> "ImageRows":
        """The same on another device."""
        layers = tuple(layer.to(device, non_blocking=True) for layer in self.layers)
        return ImageRows(self.rows.to(device, non_blocking=True), layers, self.in_a_tensor)


@dataclass(frozen=True, slots=True)
class _Precomputed:
    """Image features as `get_image_features` returns them, all images as one."""

    pooler_output: Tensor | tuple[Tensor, ...]
    deepstack_features: list[tuple[Tensor, ...]]


def _precomputed(images: Sequence[ImageRows]) -> _Precomputed:
    rows = torch.cat([image.rows for image in images])
    layers = [torch.cat(parts) for parts in zip(*(image.layers for image in images), strict=True)]
    return _Precomputed(rows[None] if images[0].in_a_tensor else (rows,), [(layer,) for layer in layers])


def _joined(images: Tensor | Sequence[Tensor]) -> Tensor:
    """[R, hidden] of a tensor [.., R, hidden], or of several."""
    parts = [images] if isinstance(images, Tensor) else images
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])


@cache
def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def open_ready(path: str, dtype: torch.dtype = torch.float32, bits: int = 0) -> ReadyVlm:
    """The VLM of a local folder or hub id, in eval mode, with weights in `dtype`.

    `bits` 4 or 8: the linears of its language model are quantised while they are loaded, and multiply in `dtype`.
    Raises ModelError for a folder that is no VLM, lacks files or packages, or whose class offers no way to compute its
    image features and hand them to its language model.
    """
    _refuse_file(path)
    folder = local_folder(path, (*TEXT_FILES, "*.safetensors"))
    _refuse_other_types(path, read_model_config(path, folder))
    cannot = f"{path}: cannot be loaded as a vision language model"
    with as_model_error(cannot):
        quantised, need = text_alone(folder, bits, dtype)
    _refuse_too_large(path, need, bits, dtype)
    hf_processor = _load_processor(path, folder)
    with as_model_error(cannot):
        options = {"dtype": dtype, "ignore_mismatched_sizes": True, "quantization_config": quantised}
        model, report = hf_loaders.load_model_with_report(AutoModelForImageTextToText, folder, **options)
    refuse_gaps(path, report)
    refuse_closed(path, model)
    read_rows_exactly(model)
    forbid_repacking(model)
    return ReadyVlm(model.eval(), ReadyProcessor(hf_processor, int(model.config.image_token_id), path))


def open_processor(path: str) -> ReadyProcessor:
    """The processor of a VLM's folder or hub id, which needs no weights. Raises ModelError as `open_ready`."""
    _refuse_file(path)
    folder = local_folder(path, TEXT_FILES)
    _refuse_other_types(path, read_model_config(path, folder, weights=False))
    with as_model_error(f"{path}: cannot be loaded as a vision language model"):
        row_id = int(hf_loaders.load_config(folder, AutoModelForImageTextToText.__name__).image_token_id)
    return ReadyProcessor(_load_processor(path, folder), row_id, path)


def _refuse_other_types(path: str, settings: dict[str, Any]) -> None:
    """Raise ModelError for a folder whose model is no VLM."""
    if settings["model_type"] not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise ModelError(
            f"{path}: a {settings['model_type']} model is none that answers to images and text (transformers' "
            "AutoModelForImageTextToText). For a language model without images give model.llm"
        )


def _refuse_file(path: str) -> None:
    """Raise ModelError for a file in place of a folder."""
    file = Path(path).expanduser()
    if not file.is_file():
        return
    if zipfile.is_zipfile(file) or tarfile.is_tarfile(file):
        raise ModelError(
            f"{path}: an archive, not a model folder. Unpack it, then give the folder with config.json in it"
        )
    raise ModelError(f"{path}: a file, not a model folder. Give the folder it is in")


def _refuse_too_large(path: str, need: int, bits: int, dtype: torch.dtype) -> None:
    """Raise ModelError for weights of `need` bytes that do not fit into memory."""
    free = free_memory().machine
    if need > free:
        held = f"{bits} bits" if bits else str(dtype).removeprefix("torch.")
        raise ModelError(
            f"{path}: its weights take about {need / 2**30:.1f} GiB in {held}, and {free / 2**30:.1f} GiB are free "
            "here. Take a machine with more memory, or a smaller model of its class"
        )


def _load_processor(path: str, folder: Path) -> HfProcessor:
    with as_model_error(f"{path}: its processor cannot be loaded", "A package that it names has to be installed first"):
        return cast(HfProcessor, hf_loaders.load_processor(folder))


def refuse_closed(path: str, model: PreTrainedModel) -> None:
    """Raise ModelError for a class that cannot be asked for image features, or takes none that were computed before."""
    body = model.base_model
    lacks = [] if "get_image_features" in dir(body) else ["get_image_features"]
    lacks += [] if PRECOMPUTED in inspect.signature(body.forward).parameters else [PRECOMPUTED]
    lacks += [] if hasattr(model.config, "image_token_id") else ["image_token_id"]
    if lacks:
        raise ModelError(
            f"{path}: transformers' {type(model).__name__} has no {lacks[0]}, so its images cannot be computed"
            " without its language model. Take another model"
        )
