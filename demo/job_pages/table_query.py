"""Which jobs and runs the table shows: by state, by words in their names, and how many."""

from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import Query

from demo.job_pages.parts.markup import Markup, tag
from demo.job_pages.parts.words import TABLE, text
from llm.i18n.translate import Language
from vlm.service.outside_runs import OutsideRun
from vlm.service.store.states import FINAL, State

SHOWN, MOST_SHOWN = 50, 1000  # rows at first and at most
Show = Literal["all", "open", "done", "ended"]
STATES: dict[Show, frozenset[State]] = {
    "all": frozenset(State),
    "open": frozenset(State) - FINAL,
    "done": frozenset({State.SUCCEEDED}),
    "ended": FINAL - {State.SUCCEEDED},
}
RUNS: dict[str, Show] = {"running": "open", "finished": "done", "stopped": "ended"}  # the group of a run's state


@dataclass(frozen=True, slots=True)
class TableQuery:
    """What an address of the table asks for."""

    limit: int
    show: Show
    words: str

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

    def query(self, **changes: int) -> str:
        """The query of its address, with changes."""
        found = {"limit": self.limit, "show": self.show, "words": self.words} | changes
        return urlencode({key: value for key, value in found.items() if value not in ("", "all")})


def table_query(
    limit: Annotated[int, Query(ge=1, le=MOST_SHOWN)] = SHOWN,
    show: Show = "all",
    words: Annotated[str, Query(max_length=200)] = "",
) -> TableQuery:
    """The query of a request."""
    return TableQuery(limit, show, words.strip())


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
