"""Images for transformers' LlavaImageProcessor, which pads to a square before it resizes."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from vlm.vision.square_resize import RESAMPLE, resize_padded, square_is_affordable

PADDING = "LlavaImageProcessor"  # the type that both of its backends save
_NAMES = {int(number): name for name, number in RESAMPLE.items()}


def spare_square(image: Image.Image, settings: Mapping[str, Any]) -> Image.Image:
    """The image or, where the processor with these settings would pad it to a square of gigabytes, that square resized.

    The processor finds nothing to pad or to resize in it, and gives the pixels it would have given.
    """
    if settings["image_processor_type"] != PADDING or not settings["do_pad"] or square_is_affordable(image):
        return image
    size, resample = settings["size"], _NAMES.get(settings["resample"])
    if resample is None or not settings["do_resize"]:
        return image
    red, green, blue = (int(value * 255) for value in settings["image_mean"] or (0, 0, 0))
    side = size.get("height") or size["shortest_edge"]
    return Image.fromarray(resize_padded(image, side, (red, green, blue), resample))
