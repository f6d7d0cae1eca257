"""The data files of the service, as the pages of data read them."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from urllib.parse import urlencode

from llm.config.schema import Source
from llm.errors import EyegraftError
from llm.formats.readers import read as read_records
from vlm.service.service import Service
from vlm.service.store.file_table import list_files
from vlm.service.store.job_table import list_jobs
from vlm.service.store.rows import StoredFile

MOST = 100  # files and jobs, the newest ones
LOOKED_AT = 20  # files for which the first page says whether data is there
MOST_READ = 64 << 20  # bytes of one of these


def listed_name(file: StoredFile) -> str:
    """The name under which the page lists a file; `/data?file=ID` finds it by its end."""
    return f"{file.filename} ({file.id})"


def stored_source(service: Service, file: StoredFile, images: Path | str) -> Source:
    """A stored file with the folder of its images."""
    return Source(path=str(service.files.path(file)), images=str(images))


def has_usable_file(service: Service) -> bool:
    """Whether one of the newest uploads can be trained on, as far as its first record says."""
    files, _ = list_files(service.database, LOOKED_AT, purpose="fine-tune")
    return any(is_usable(service, file) for file in files)


def is_usable(service: Service, file: StoredFile) -> bool:
    """Whether a stored file can be trained on, as far as its first record says."""
    return _begins_well(str(service.files.path(file)), file.sha256)


@lru_cache(maxsize=500)
def _begins_well(path: str, _content: str) -> bool:
    """Whether the first record of a file can be read; of a large file that is left to the look on the Train page."""
    if Path(path).is_file() and Path(path).stat().st_size > MOST_READ:
        return True
    try:
        return any(True for _ in islice(read_records(Source(path=path), Path(), _ignore), 1))
    except (EyegraftError, OSError):
        return False


def _ignore(_: str) -> None:
    """Warnings of the reader are for the look on the Train page."""


class StoredSources(Mapping[str, Source]):
    """The newest uploaded files of records by name and id, as they are now, each with the images of its newest job."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def __getitem__(self, name: str) -> Source:
        return self._found()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def train_address(self, name: str) -> str:
        """The address of the Train page with the file of that name chosen; empty without one."""
        known = {listed_name(file): file.id for file in self._files()}
        return f"/train?{urlencode({'file': known[name]})}" if name in known else ""

    def first_usable(self) -> str | None:
        """The name of the newest of the last uploads that can be trained on, as far as its first record says."""
        files = self._files()[:LOOKED_AT]
        return next((listed_name(file) for file in files if is_usable(self._service, file)), None)

    def _files(self) -> Sequence[StoredFile]:
        return list_files(self._service.database, MOST, purpose="fine-tune")[0]

    def _found(self) -> dict[str, Source]:
        images = self._images()
        return {
            listed_name(file): stored_source(self._service, file, images.get(file.id, "")) for file in self._files()
        }

    def _images(self) -> dict[str, str]:
        """The folder of unpacked images of each file's newest job that has one."""
        jobs, _ = list_jobs(self._service.database, MOST)
        folders = {job.training_file: self._service.layout.job(job.id) / "images" for job in reversed(jobs)}
        return {name: str(folder) for name, folder in folders.items() if folder.is_dir()}
