"""How a model writes boxes: what its recipe says, or what its folder is known for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm.config.schema import RunConfig
from llm.errors import EyegraftError
from llm.files.untrusted_json import read_object_if_there
from vlm.config import ReadyRunConfig, VlmRunConfig
from vlm.scores.box_reading import NamedBox, read_boxes
from vlm.scores.box_styles import QWEN_PIXELS, BoxStyle, seen_by

# What models of these types were published with: a class does not tell how its weights write boxes. `data.boxes` of a
# recipe says otherwise where a model was trained on other ones.
STYLE_OF_TYPE: dict[str, BoxStyle] = {
    "llava": "llava",
    "llava_next": "llava",
    "llava_onevision": "llava",
    "fast_vlm": "llava",
    "qwen2_vl": "thousand",
    "qwen2_5_vl": "qwen2.5",
    "qwen3_vl": "thousand",
    "qwen3_vl_moe": "thousand",
    "internvl": "thousand",
    "paligemma": "paligemma",
}
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True, slots=True)
class ModelBoxes:
    """The style of a model, None where it is not known, and the pixels of its processor as in `box_styles.seen_by`."""

    style: BoxStyle | None = None
    pixels: tuple[int, int, int] = QWEN_PIXELS

    def read(self, answer: str, size: tuple[int, int]) -> list[NamedBox]:
        """The boxes of an answer about an image of `size`; where none is in the model's style, those of other forms."""
        if self.style is None:
            return read_boxes(answer, size)
        return read_boxes(answer, size, self.style, seen_by(self.style, size, self.pixels)) or read_boxes(answer, size)


def boxes_of_folder(folder: Path) -> ModelBoxes:
    """Of a Hugging Face folder, by the type in its config.json. Of an unreadable one nothing is known."""
    try:
        style = STYLE_OF_TYPE.get(str(read_object_if_there(folder / "config.json").get("model_type")))
        settings: dict[str, Any] = {}
        for name in PROCESSOR_FILES:
            found = read_object_if_there(folder / name)
            settings |= found.get("image_processor") or found
    except EyegraftError:
        return ModelBoxes()
    return ModelBoxes(style, _pixels(settings) if style == "qwen2.5" else QWEN_PIXELS)


def boxes_of_run(config: RunConfig) -> ModelBoxes:
    """Of a run, by `data.boxes` of its recipe; `auto` takes LLaVA's for models from parts."""
    chosen = config.data.boxes
    known = ModelBoxes("llava") if isinstance(config, VlmRunConfig) else ModelBoxes()
    if isinstance(config, ReadyRunConfig):
        known = boxes_of_folder(Path(config.model.llm).expanduser())
    return known if chosen == "auto" else ModelBoxes(chosen, known.pixels)


def _pixels(settings: dict[str, Any]) -> tuple[int, int, int]:
    """Factor, fewest and most pixels of Qwen-VL's image processor; what it lacks is as it was published."""
    size = settings.get("size")
    bounds = size if isinstance(size, dict) else {}
    factor = _number(settings.get("patch_size"), 14) * _number(settings.get("merge_size"), 2)
    least = _number(settings.get("min_pixels", bounds.get("shortest_edge")), QWEN_PIXELS[1])
    return factor, least, _number(settings.get("max_pixels", bounds.get("longest_edge")), QWEN_PIXELS[2])


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) and value > 0 else default
