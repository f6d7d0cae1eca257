"""The table of jobs: heads that sort, and its rows in chunks, of which only those near the reader are made.

A chunk that is not made is one row as high as all of its rows. The script asks for the chunks that are looked at, and
the height of a row is measured there: a table of any length is scrolled as one, and costs as much as what is seen.
"""

from collections.abc import Sequence

from demo.job_pages.curves.marked_runs import MOST_RUNS
from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.job_table import CELLS, RowContext, column_name, empty_table, line_of, row_of
from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.table_words import COLUMN, MARKS
from demo.job_pages.parts.words import TABLE, text
from demo.job_pages.table_query import CHUNK, COLUMNS, Column, TableQuery
from demo.job_pages.table_rows import FoundRows, find_rows
from llm.i18n.translate import Language
from vlm.service.outside_runs import OutsideRun
from vlm.service.store.rows import Job


def table_of(context: PageContext, query: TableQuery, lang: Language) -> Markup:
    """The table, or, without any job, what to do next."""
    rows = context.rows(lang)
    found = find_rows(context, query, rows.now)
    if not found.ids:
        return _no_match(lang) if query.is_filter else empty_table(lang)
    heads = [tag("th", scope="col", role="columnheader", aria_label=text(MARKS, "marks", lang))]
    heads += [_head(column, query, lang) for column in COLUMNS]
    order = text(TABLE, "order", lang)  # before the heads on a phone, where no column is below them
    head = tag("thead", tag("tr", *heads, role="row", aria_rowindex=1, data_order=order), role="rowgroup")
    total = len(found.ids)
    bodies = [_chunk(context, found, number, query.chunks, rows) for number in range(-(-total // CHUNK))]
    label = text(TABLE, "caption", lang)
    return tag("table", head, *bodies, class_="jobs", role="table", aria_label=label, aria_rowcount=total + 1)


def newest_table(found: Sequence[Job | OutsideRun], most: int, rows: RowContext) -> Markup:
    """The newest of these jobs and runs, without sorting and marks."""
    newest = sorted(found, key=lambda one: -one.created_at)[:most]  # stable: jobs of one second stay in their order
    names = ("", *(column_name(column, rows.lang) for column in COLUMNS))
    classes = (None, *COLUMNS)
    heads = [
        tag("th", name, class_=column, scope="col", role="columnheader")
        for name, column in zip(names, classes, strict=True)
    ]
    head = tag("thead", tag("tr", *heads, role="row"), role="rowgroup")
    lines = [line_of(row_of(one, rows), place, rows, marks=False) for place, one in enumerate(newest, 1)]
    label = text(TABLE, "caption", rows.lang)
    return tag("table", head, tag("tbody", *lines, role="rowgroup"), class_="jobs", role="table", aria_label=label)


def _no_match(lang: Language) -> Markup:
    return tag("p", text(TABLE, "no_match", lang), class_="card empty", role="status")


def _head(column: Column, query: TableQuery, lang: Language) -> Markup:
    """A head is a link: it sorts without the script too, and with the keyboard."""
    sorts = column == query.column
    order = ("descending" if query.descending else "ascending") if sorts else None
    name = column_name(column, lang)
    address = query.query(sort=query.clicked(column))
    link = tag("a", name, href=f"/jobs?{address}", class_="sort", title=text(COLUMN, "sort_by", lang, name))
    return tag("th", link, class_=column, scope="col", role="columnheader", aria_sort=order)


def _chunk(context: PageContext, found: FoundRows, number: int, wanted: Sequence[int], rows: RowContext) -> Markup:
    start = number * CHUNK
    count = min(CHUNK, len(found.ids) - start)
    if number in wanted:
        read = enumerate(found.read(context, start, count), start + 1)
        lines = joined([line_of(row_of(one, rows), place, rows) for place, one in read])
        return tag("tbody", lines, id=f"rows-{number}", role="rowgroup", data_chunk=number)
    space = tag("td", "", colspan=len(CELLS), style=f"--rows: {count}")
    return tag("tbody", tag("tr", space, aria_hidden="true"), id=f"rows-{number}", class_="unread", data_chunk=number)


def marks_bar(lang: Language) -> Markup:
    """What can be done with the marked jobs; shown by the script as soon as there are some."""
    compare = tag("a", text(MARKS, "compare", lang), href="/curves", class_="button primary", id="marks-compare")
    clear = tag("button", text(MARKS, "clear", lang), type="button", class_="button", id="marks-clear")
    count = tag("span", "", id="marks-count", role="status")
    words = {"data_marked": text(MARKS, "marked", lang, "{}"), "data_most": text(MARKS, "most", lang, MOST_RUNS)}
    label = text(MARKS, "marks", lang)
    inner = joined([count, compare, clear])
    return tag(
        "div", inner, id="marks", class_="marks-bar", role="group", aria_label=label, hidden=True,
        data_limit=MOST_RUNS, **words,
    )  # fmt: skip
