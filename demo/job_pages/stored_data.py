"""The data files of the service, as the pages of data read them."""

from collections.abc import Iterator, Mapping

from llm.config.schema import Source
from vlm.service.service import Service
from vlm.service.store.file_table import list_files
from vlm.service.store.job_table import list_jobs

MOST = 100  # files and jobs, the newest ones


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

    def _found(self) -> dict[str, Source]:
        files, _ = list_files(self._service.database, MOST, purpose="fine-tune")
        images = self._images()
        return {
            f"{file.filename} ({file.id})": Source(
                path=str(self._service.files.path(file)), images=images.get(file.id, "")
            )
            for file in files
        }

    def _images(self) -> dict[str, str]:
        """The folder of unpacked images of each file's newest job that has one."""
        jobs, _ = list_jobs(self._service.database, MOST)
        folders = {job.training_file: self._service.layout.job(job.id) / "images" for job in reversed(jobs)}
        return {name: str(folder) for name, folder in folders.items() if folder.is_dir()}
