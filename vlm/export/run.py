"""`eyegraft export`: write a run's model in a form that other software reads, and check it by reading it back."""

from dataclasses import replace as origin_with
from importlib.util import find_spec
from pathlib import Path

from llm.errors import ConfigError
from llm.files.folder_replacement import Origin, check_replaceable, source_of
from llm.log import logger
from llm.model.merge import merge_adapters
from llm.model.precision import DTYPES
from vlm.export.formats import ExportDtype, ExportFormat
from vlm.export.llava import export_llava
from vlm.export.model_card import proof, write_card
from vlm.export.peft import export_peft
from vlm.export.plain import export_plain
from vlm.model.runs import OpenedRun, open_run


def export(
    run: Path,
    out: Path,
    dtype: ExportDtype = "fp32",
    checkpoint: str = "latest",
    to: ExportFormat = "hf",
    force: bool = False,
    replace: bool = False,
) -> float:
    """Write, reload, compare, and document the result in a model card; returns the difference (`model_card.PROOFS`).

    `force` writes GGUF files whatever the comparison finds; `replace` replaces an export of another run. Raises
    ConfigError for a model that the format does not support, ModelError when the export answers differently, RunError
    when `out` holds anything but an export that may be replaced.
    """
    _check(to, dtype, force)
    origin = Origin(source_of("run", run), f"the run {run.name}", replace)
    check_replaceable(out, origin)  # before the model is opened
    opened = open_run(run, checkpoint)

    def proved(difference: float) -> str:
        return proof(to, dtype, difference) + (" (written with --force, whatever the difference)" if force else "")

    def card(folder: Path, difference: float) -> None:
        write_card(run, checkpoint, opened, folder, out.name, to, proved(difference))

    difference = _write(opened, out, dtype, to, force, origin_with(origin, card=card))
    logger.info(f"{out}: {proved(difference)}")
    return difference


def _write(opened: OpenedRun, out: Path, dtype: ExportDtype, to: ExportFormat, force: bool, origin: Origin) -> float:
    if to == "peft":
        return export_peft(opened, out, DTYPES[dtype], origin)
    if to == "llava":
        return export_llava(opened, out, origin)
    merge_adapters(opened.model)
    if to == "hf":
        return export_plain(opened, out, DTYPES[dtype], origin)
    from vlm.export.gguf.export import export_gguf

    return export_gguf(opened, out, dtype, force, ollama=to == "ollama", origin=origin)


def _check(to: ExportFormat, dtype: ExportDtype, force: bool) -> None:
    """Raise ConfigError for options that do not fit the format or lack a package, before a model is opened."""
    for_llama_cpp = to in ("gguf", "ollama")
    if dtype == "q8_0" and not for_llama_cpp:
        raise ConfigError("--dtype q8_0 is a type of GGUF files: use it with --to gguf or --to ollama")
    if force and not for_llama_cpp:
        raise ConfigError("--force is for --to gguf and --to ollama")
    missing = [name for name in ("gguf", "xllamacpp") if for_llama_cpp and find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"--to {to} writes with gguf and is checked with xllamacpp, but {' and '.join(missing)} cannot be "
            "imported: pip install 'eyegraft[gguf]'"
        )
