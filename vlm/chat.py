"""`eyegraft chat`: a run's model, or a plain Hugging Face folder, in the terminal."""

from pathlib import Path

from llm.chat import Speaker, talk
from llm.generate import Sampling
from vlm.run import open_run


def chat_terminal(
    run: str, checkpoint: str, images: tuple[str, ...], system: str, sampling: Sampling, stream: bool
) -> None:
    """Talk to a run folder, or to a folder that `eyegraft export` wrote."""
    talk(open_speaker(Path(run), checkpoint), system, images, sampling, stream)


def open_speaker(path: Path, checkpoint: str = "latest") -> Speaker:
    """The speaker of a run folder, or of an exported Hugging Face folder with the template it carries."""
    if (path / "config.json").exists():
        from vlm.foreign import open_exported

        return open_exported(path)
    return open_run(path, checkpoint).speaker
