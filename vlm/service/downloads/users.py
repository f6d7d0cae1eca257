"""Which jobs need a downloaded model."""

from pathlib import Path

from vlm.service.store.database import Database

MOST = 5  # names in an error
# One that has failed or was cancelled may go; its checkpoints are of no use without the base.
QUERY = """\
SELECT id FROM jobs WHERE state NOT IN ('failed', 'cancelled')
AND (model = ?1 OR instr(recipe, ?2) OR instr(request, ?3) OR instr(request, ?4)) LIMIT ?5"""


def jobs_of_model(database: Database, model: str, folder: Path) -> list[str]:
    """The jobs that name the model, as base or as tower, or whose recipe reads its folder; a few of many."""
    values = (model, str(folder), f'"{model}"', f':{model}"', MOST)  # as a tower it may be open_clip:MODEL
    return [row["id"] for row in database.rows(QUERY, values)]
