"""Which jobs and runs the table shows and in which order: what its address asks for."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args
from urllib.parse import urlencode

from fastapi import Query

from demo.job_pages.parts.markup import Markup, tag
from demo.job_pages.parts.words import TABLE, text
from llm.i18n.translate import Language
from vlm.service.outside_runs import OutsideRun
from vlm.service.store.states import FINAL, State

Show = Literal["all", "open", "done", "ended"]
Column = Literal["name", "state", "progress", "loss", "best", "speed", "left", "slot", "submitted"]
COLUMNS: tuple[Column, ...] = get_args(Column)
SORTS = tuple(sign + name for name in COLUMNS for sign in ("", "-"))  # `-name`: the largest first
NEWEST = "-submitted"
LARGEST_FIRST = frozenset({"progress", "speed", "submitted"})  # columns that a first click sorts so
CHUNK = 25  # rows of the table that are made together
FIRST = (0, 1)  # chunks of a page that was just opened
MOST_CHUNKS = 40  # at a time
STATES: dict[Show, frozenset[State]] = {
    "all": frozenset(State),
    "open": frozenset(State) - FINAL,
    "done": frozenset({State.SUCCEEDED}),
    "ended": FINAL - {State.SUCCEEDED},
}
RUNS: dict[str, Show] = {"running": "open", "finished": "done", "stopped": "ended"}  # the group of a run's state


@dataclass(frozen=True, slots=True)
class TableQuery:
    """What an address of the table asks for; `chunks`: which rows, by CHUNK of them."""

    show: Show
    words: str
    sort: str = NEWEST
    chunks: tuple[int, ...] = FIRST

    @property
    def column(self) -> Column:
        """The column that sorts."""
        return next(name for name in COLUMNS if name == self.sort.removeprefix("-"))

    @property
    def descending(self) -> bool:
        """Whether the largest values are first."""
        return self.sort.startswith("-")

    @property
    def states(self) -> frozenset[State]:
        """The states of jobs that are shown."""
        return STATES[self.show]

    @property
    def is_filter(self) -> bool:
        """Whether it leaves some out."""
        return self.show != "all" or bool(self.words)

    def shows(self, run: OutsideRun) -> bool:
        """Whether a run is shown."""
        return self.show in ("all", RUNS[run.state]) and self.words.lower() in run.name.lower()

    def clicked(self, column: Column) -> str:
        """The order after a click on a column's head: the other one where the column sorts already."""
        if column == self.column:
            return column if self.descending else f"-{column}"
        return f"-{column}" if column in LARGEST_FIRST else column

    def query(self, **changes: str) -> str:
        """The query of its address, with changes. It has no chunks: they follow from where a reader has scrolled."""
        found = {"show": self.show, "words": self.words, "sort": self.sort} | changes
        return urlencode({key: value for key, value in found.items() if value not in ("", "all", NEWEST)})


def table_query(
    show: Show = "all",
    words: Annotated[str, Query(max_length=200)] = "",
    sort: Annotated[str, Query(pattern=f"^({'|'.join(SORTS)})$")] = NEWEST,
    chunk: Annotated[list[int] | None, Query(max_length=MOST_CHUNKS)] = None,
) -> TableQuery:
    """The query of a request."""
    return TableQuery(show, words.strip(), sort, FIRST if chunk is None else tuple(chunk))


def filter_form(query: TableQuery, lang: Language) -> Markup:
    """The search and the choice of states; the script asks for the table again while they change."""
    search = tag(
        "input",
        type="search",
        name="words",
        value=query.words,
        placeholder=text(TABLE, "search_short", lang),
        aria_label=text(TABLE, "search", lang),
        autocomplete="off",
    )
    options = [tag("option", text(TABLE, f"show_{key}", lang), value=key, selected=key == query.show) for key in STATES]
    select = tag("select", *options, name="show", aria_label=text(TABLE, "state", lang))
    return tag("form", search, select, class_="filter", role="search", data_filter="jobs")
