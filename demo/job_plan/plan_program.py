"""A job that is not submitted yet is planned: `python -m demo.job_plan.plan_program FOLDER [IMAGES]`.

The look is that of the gate, after which the job would wait or fail; then its first records are encoded and packed.
"""

import sys
from pathlib import Path

from demo.job_plan.forecast_record import write_forecast
from demo.jobs.gate import job_gate
from llm.activity import importing
from llm.config.schema import RunConfig
from llm.errors import EyegraftError
from llm.files.atomic_files import write_atomically
from vlm.config import load_config
from vlm.service.archives import ArchiveError, unpack
from vlm.service.gate_record import GateAnswer, read_answer, read_question, write_answer
from vlm.service.store.rows import JobError

RECIPE = "recipe.yaml"


def main(folder: Path, images: Path | None) -> None:
    """Answer the question of a folder. `images`: where its archive is unpacked, or will be; other plans share it."""
    if images is not None and not _linked(folder, images):
        return
    job_gate.main(folder, lambda found: write_answer(folder, found))
    answer = read_answer(folder)
    if answer is None or answer.error is not None:
        return
    write_atomically(folder / RECIPE, answer.recipe)
    config = load_config(folder / RECIPE)
    assert isinstance(config, RunConfig)
    with importing():
        from demo.job_plan.data_forecast import forecast_data

    question = read_question(folder)
    try:
        with job_gate.as_allowed(question):
            write_forecast(folder, forecast_data(config))
    except EyegraftError as error:  # of a record after those that the gate has looked at, or of all being too long
        message = job_gate.without_folders(str(error), question, folder)
        write_answer(folder, GateAnswer(error=JobError("invalid_training_file", message, "training_file")))


def _linked(folder: Path, images: Path) -> bool:
    """Whether the images of the question are in its folder now; else the answer says why not."""
    archive = read_question(folder).archive
    if archive is None:
        return True
    try:
        if not images.exists():
            unpack(Path(archive), images)
    except ArchiveError as error:
        write_answer(folder, GateAnswer(error=JobError("invalid_archive", str(error), "x_eyegraft.images")))
        return False
    (folder / "images").symlink_to(images, target_is_directory=True)
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
