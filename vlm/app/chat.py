"""`eyegraft chat`: a run folder or a Hugging Face folder in the terminal."""

from llm.chat.chat_errors import chat_text
from llm.chat.sampling import Sampling
from llm.chat.terminal import Terminal
from llm.chat.typed_line import local_path
from llm.errors import ConfigError, ImageError
from llm.formats.conversation import ImageRef, VideoRef
from llm.model.model_folder import named_folder
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
    images = tuple(map(local_path, images))
    for image in images:
        check_media(ImageRef(image))  # before the seconds that opening a model takes
    chat_model = open_chat_model(named_folder(run), checkpoint, adapter, bits)
    if images and not chat_model.sees_images:
        raise ConfigError(f"--image: {run} is a text model, which accepts no images. Leave the option out")
    Terminal(chat_model, sampling, check_media, system, images, stream).talk()


def check_media(media: ImageRef | VideoRef) -> None:
    """Raise ImageError, in the words of a chat, for a file that is not an image or a video that can be read."""
    from vlm.vision.images import read_image  # here: a text model is opened without vision code
    from vlm.vision.videos import read_frames

    try:
        if isinstance(media, VideoRef):
            next(read_frames(media, [0.0]))
        else:
            read_image(media)
    except ImageError as error:
        raise ImageError(chat_text(error)) from error
