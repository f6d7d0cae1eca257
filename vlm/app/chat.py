"""`eyegraft chat`: a run folder or a Hugging Face folder in the terminal."""

from pathlib import Path

from llm.chat.sampling import Sampling
from llm.chat.terminal import Terminal
from llm.errors import ConfigError
from llm.formats.conversation import ImageRef
from vlm.model.open_chat_model import open_chat_model


def chat_terminal(
    run: str,
    checkpoint: str,
    images: tuple[str, ...],
    system: str,
    sampling: Sampling,
    stream: bool,
    adapter: str = "",
    bits: int = 0,
) -> None:
    """Chat with a run folder, or with a model folder, optionally with a LoRA adapter or quantised to 4 or 8 bits."""
    chat_model = open_chat_model(Path(run), checkpoint, adapter, bits)
    if images and not chat_model.sees_images:
        raise ConfigError(f"--image: {run} is a text model, which accepts no images. Leave the option out")
    for image in images:
        check_image(ImageRef(image))  # before the first question
    Terminal(chat_model, sampling, check_image, system, images, stream).talk()


def check_image(image: ImageRef) -> None:
    """Raise ImageError for a file that is not an image."""
    from vlm.vision.images import read_image  # here: a text model is opened without vision code

    read_image(image)
