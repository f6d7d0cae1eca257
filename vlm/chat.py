"""`eyegraft chat`: a run's model, or a plain Hugging Face folder, in the terminal."""

from pathlib import Path

from llm.chat import Speaker
from llm.conversation import ImageRef
from llm.errors import ConfigError
from llm.generate import Sampling
from llm.terminal import Terminal
from vlm.images import read_image
from vlm.run import HERE, open_run


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
    """Talk to a run folder, or to a model folder, with an adapter that peft wrote or with fewer bits if asked."""
    speaker = open_speaker(Path(run), checkpoint, adapter, bits)
    if images and not speaker.sees:
        raise ConfigError(f"--image: {run} is a text model, which sees no pictures. Leave the option out")
    for image in images:
        read_image(ImageRef(image))  # a broken one is told before the first question
    Terminal(speaker, sampling, read_image, system, images, stream).talk()


def open_speaker(
    path: Path, checkpoint: str = "latest", adapter: str = "", bits: int = 0, home: Path = HERE
) -> Speaker:
    """The speaker of a run folder, or of a Hugging Face folder with the template it carries.

    `adapter` and `bits` are for the latter: ConfigError for a run, which has its own adapters and precision. Relative
    paths in a run's recipe begin at `home`.
    """
    if (path / "config.json").exists():
        from vlm.foreign import open_exported

        return open_exported(path, adapter, bits)
    if adapter or bits:
        raise ConfigError(f"--adapter and --bits are for model folders; {path} is a run. Export it first")
    return open_run(path, checkpoint, home=home).placed().speaker
