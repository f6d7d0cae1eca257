"""Examples of the chat in a service: first questions from the data of the job that made the chosen model."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from demo.job_pages.stored_data import stored_source
from demo.model_library import ModelLibrary
from demo.pages.parts.chat_messages import QuestionInput
from demo.pages.parts.example_images import copied_images
from llm.errors import EyegraftError
from llm.formats.conversation import Conversation, ImageRef, Message, VideoRef
from llm.formats.readers import read
from vlm.service.service import Service
from vlm.service.store.job_table import find_job
from vlm.service.store.rows import Job

EXAMPLES = 4
LOOKED_AT = 60  # records, so that different questions and one about several images are found
MOST_TEXT = 500  # characters of a question
MOST_IMAGES = 6  # of a question


class JobExamples:
    """The examples by the name of a model."""

    def __init__(self, service: Service, library: ModelLibrary) -> None:
        self._service, self._library = service, library

    def __call__(self, name: str | None) -> list[QuestionInput]:
        """Questions with copies of their images; none for a model that no job has made.

        A client of the service wrote the paths in its files: only images that the service has unpacked for the job are
        copied, and those inside the records. A question with any other image is no example.
        """
        job = self._job(name)
        if job is None:
            return []
        images = self._service.layout.job(job.id) / "images"
        asked: dict[str, Message] = {}
        for record in self._records(job, images):
            question = next(message for message in record.messages if message.role == "user")
            if question.text.strip() and _is_stored(question, images):
                asked.setdefault(question.text, question)
        return [one for question in _varied([*asked.values()]) for one in _example(question, job.id)]

    def _job(self, name: str | None) -> Job | None:
        weights = self._library.weights.get(name or "")
        job = find_job(self._service.database, weights.path.parent.name) if weights is not None else None
        made = job is not None and weights is not None and weights.path == self._service.layout.run(job.id)
        return job if made else None

    def _records(self, job: Job, images: Path) -> Iterator[Conversation]:
        """The first records of the job's files; a file ends at its first mistake."""
        for name in (job.training_file, *job.request["x_eyegraft"].get("training_files", [])):
            file = self._service.files.entry(name)
            if file is None:
                continue
            try:
                records = read(stored_source(self._service, file, images), Path(), lambda line: None)
                yield from (one for one in islice(records, LOOKED_AT) if not one.is_plain)
            except (EyegraftError, OSError):
                continue


def _is_stored(question: Message, folder: Path) -> bool:
    """Whether each image of a question is inside its record or a file of `folder`, links resolved."""
    if any(isinstance(part, VideoRef) for part in question.parts):
        return False  # the copies are of images
    images = _images(question)
    return len(images) <= MOST_IMAGES and all(image.data or _is_inside(image.path, folder) for image in images)


def _is_inside(path: str, folder: Path) -> bool:
    try:
        return bool(path) and Path(path).resolve(strict=True).is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # there is none, it cannot be a name, links in a circle
        return False


def _varied(questions: list[Message]) -> list[Message]:
    """The first questions, the last of them about several images if there is one at all."""
    short = [one for one in questions if len(one.text) <= MOST_TEXT]
    chosen = short[:EXAMPLES]
    several = next((one for one in short if len(_images(one)) > 1), None)
    return [*chosen[: EXAMPLES - 1], several] if several is not None and several not in chosen else chosen


def _example(question: Message, group: str) -> list[QuestionInput]:
    """The example; none where an image cannot be read."""
    try:
        files = copied_images(_images(question), group)
    except (EyegraftError, OSError):
        return []
    return [{"text": question.text.strip(), "files": [str(file) for file in files]}]


def _images(question: Message) -> list[ImageRef]:
    return [part for part in question.parts if isinstance(part, ImageRef)]
