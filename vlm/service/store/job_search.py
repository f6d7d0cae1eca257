"""Which jobs there are, by their state and by words in their names, each with the value that a list is sorted by."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from vlm.service.store.database import Database
from vlm.service.store.states import State

Column = Literal["name", "state", "progress", "loss", "best", "speed", "slot", "submitted"]
RANKS = {state: rank for rank, state in enumerate(State)}
_RANK = "CASE state " + " ".join(f"WHEN '{state}' THEN {rank}" for state, rank in RANKS.items()) + " END"
_SUFFIX = "json_extract(request, '$.suffix')"
# A figure of the progress; 0 steps are none.
_VALUES: dict[Column, str] = {
    "name": f"lower(coalesce(nullif({_SUFFIX}, ''), substr(id, 7, 8)))",
    "state": _RANK,
    "progress": "nullif(json_extract(progress, '$.step'), 0)",
    "loss": "json_extract(progress, '$.loss')",
    "best": "json_extract(progress, '$.best_loss')",
    "speed": "json_extract(progress, '$.tokens_per_s')",
    "slot": "nullif(engine, '')",
    "submitted": "NULL",  # the order of all lists whose values are equal
}


@dataclass(frozen=True, slots=True)
class FoundJob:
    """A job that was found; `value`: what a list of them is sorted by, None where the job has no such figure."""

    id: str
    state: State
    created_at: int
    value: str | float | None


def search_jobs(database: Database, states: Collection[State], words: str, column: Column) -> list[FoundJob]:
    """Jobs in one of the states, newest first, whose name, id or model has `words`. Capitals do not matter."""
    marks = ", ".join("?" * len(states))
    named = f"coalesce({_SUFFIX}, '') || ' ' || id || ' ' || model"
    # By its order alone: the index of states would sort all that it finds.
    query = (
        f"SELECT id, state, created_at, {_VALUES[column]} AS value FROM jobs NOT INDEXED "
        f"WHERE state IN ({marks}) AND instr(lower({named}), lower(?)) ORDER BY sequence DESC"
    )
    rows = database.rows(query, [*states, words])
    return [FoundJob(row["id"], State(row["state"]), row["created_at"], row["value"]) for row in rows]
