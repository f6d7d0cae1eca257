"""Folders of LoRA adapters: peft's own, and what `eyegraft export --to peft` writes around one."""

from dataclasses import dataclass
from pathlib import Path

from llm.errors import ModelError
from llm.files.untrusted_json import read_object
from llm.model.model_folder import ADAPTER_FILE, TEXT_FILES, local_folder, refuse_special_files

ADAPTER, BASE = "adapter", "base"  # the folders that our export writes


@dataclass(frozen=True, slots=True)
class AdapterFolder:
    """A folder with adapter_config.json."""

    path: Path

    @property
    def named_base(self) -> str:
        """The base that adapter_config.json names; empty where it names none."""
        name = read_object(self.path / ADAPTER_FILE).get("base_model_name_or_path")
        return name if isinstance(name, str) else ""

    def base(self) -> Path:
        """The folder of its base: the one beside it, where our export wrote one, or that of the name.

        Raises ModelError where it names none, or one that is not there.
        """
        beside = self.path.parent / BASE
        if self.path.name == ADAPTER and (beside / "config.json").is_file():
            return beside
        if not self.named_base:
            raise ModelError(
                f"{self.path}/{ADAPTER_FILE} names no base model. Name the base's folder, and this one as --adapter"
            )
        try:
            return local_folder(self.named_base, (*TEXT_FILES, "*.safetensors"))
        except ModelError as error:
            raise ModelError(
                f"{self.path}/{ADAPTER_FILE} names a base that is not here: {error} Or name the base's folder, and "
                "this one as --adapter"
            ) from error


def find_adapter(path: Path) -> AdapterFolder | None:
    """The adapter in a folder that peft or our export wrote; None without one. ModelError for a special file in it."""
    for folder in (path, path / ADAPTER):
        if (folder / ADAPTER_FILE).is_file():
            refuse_special_files(folder)
            return AdapterFolder(folder)
    return None


def require_adapter(path: Path) -> AdapterFolder:
    """As `find_adapter`. Raises ModelError where there is none."""
    found = find_adapter(path)
    if found is None:
        raise ModelError(
            f"{path}: {ADAPTER_FILE} is missing. Name the folder that peft's save or `export --to peft` wrote"
        )
    return found
