"""The first page: the road from data to a chat with what is done, the newest work; and the help."""

from collections.abc import Mapping

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.disk_note import disk_note
from demo.job_pages.parts.home_words import HELP, HOME
from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.refresh import refreshed
from demo.job_pages.parts.shell import PAGES, document
from demo.job_pages.parts.words import FRAME, text
from demo.job_pages.stored_data import has_usable_file
from demo.job_pages.table_view import newest_table
from demo.pages.language import preferred_language
from llm.i18n.translate import Language
from vlm.service.store.job_table import count_jobs, list_jobs, trained_jobs
from vlm.service.store.states import FINAL, State

NEWEST = 5  # rows
SHEETS = ("jobs.css", "home.css")
STEPS = {"data": "/train", "train": "/train", "watch": "/jobs", "chat": "/chat"}
DONE_LINKS = {"data": "/data"}  # where another place is of use once the step is done
KEYS = {"key_tab": "Tab", "key_enter": "Enter", "key_space": "Space", "key_escape": "Esc"}


def home_routes(context: PageContext) -> APIRouter:
    """The routes; no part of the API."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    def home(request: Request) -> HTMLResponse:
        """The road and the newest work."""
        lang = preferred_language(request.headers)
        parts = home_parts(context, lang)
        head = tag("div", tag("h1", text(HOME, "title", lang)), class_="page-head")
        body = tag("div", parts["home"], id="home", data_poll="/pages/home")
        title = text(FRAME, "home", lang)
        return HTMLResponse(document(title, "home", Markup(head + body), lang, parts["machine"], more=SHEETS))

    @routes.get("/pages/home")
    def parts(request: Request, stamp: str = "") -> Response:
        """What the first page is now."""
        return refreshed(home_parts(context, preferred_language(request.headers)), stamp)

    @routes.get("/help")
    def help_page(request: Request) -> HTMLResponse:
        """What each page does, the keyboard, and where the documentation is."""
        lang = preferred_language(request.headers)
        title = text(HELP, "title", lang)
        return HTMLResponse(
            document(title, "help", help_body(lang, {"home": "/", **PAGES}), lang, context.machine(lang), more=SHEETS)
        )

    return routes


def home_parts(context: PageContext, lang: Language) -> dict[str, Markup]:
    """The parts of the first page by the ids of their elements."""
    parts = [disk_note(context.service.layout.root, lang), road(context, lang), newest(context, lang)]
    return {"machine": context.machine(lang), "home": joined(parts)}


def steps_done(context: PageContext) -> frozenset[str]:
    """The steps of the road that someone has taken: a file that can be trained on is there, a model is trained."""
    service = context.service
    trained = bool(trained_jobs(service.database, 1))
    runs = service.outside.all()
    taken = {
        "data": trained or bool(runs) or has_usable_file(service),
        "train": trained or any(run.state == "finished" for run in runs),
        "watch": trained,
    }
    return frozenset(name for name, is_taken in taken.items() if is_taken)


def is_training(context: PageContext) -> bool:
    """Whether a job or run is on its way to a model."""
    live = count_jobs(context.service.database, set(State) - FINAL)
    return bool(live) or any(run.state == "running" for run in context.service.outside.all())


def road(context: PageContext, lang: Language) -> Markup:
    """The four steps; the first that is neither done nor under way is the next one."""
    marks = dict.fromkeys(steps_done(context), "done")
    if "train" not in marks and is_training(context):
        marks |= {"data": "done", "train": "running"}
    marks[next(name for name in STEPS if name not in marks)] = "next"
    return tag("ol", *(_step(name, marks.get(name, ""), lang) for name in STEPS), class_="road")


def _step(name: str, mark: str, lang: Language) -> Markup:
    done, following = mark in ("done", "running"), mark == "next"
    badge = (
        tag("span", text(HOME, mark, lang), class_=f"badge {'succeeded' if mark == 'done' else 'running'}")
        if mark
        else None
    )
    ready = done or (name == "chat" and following)  # there is a trained model to talk to
    address = DONE_LINKS.get(name, STEPS[name]) if done else STEPS[name]
    style = "button primary" if following else "button"
    link = tag("a", text(HOME, f"{name}_{'done' if ready else 'open'}", lang), href=address, class_=style)
    head = tag("h2", text(HOME, name, lang), badge)
    return tag("li", head, tag("p", text(HOME, f"{name}_about", lang), class_="quiet"), link, class_=f"card {mark}")


def newest(context: PageContext, lang: Language) -> Markup:
    """The newest jobs and runs; nothing without any: the road says what to do."""
    jobs, _ = list_jobs(context.service.database, NEWEST)
    runs = context.service.outside.all()
    if not jobs and not runs:
        return Markup("")
    table = newest_table([*jobs, *runs], NEWEST, context.rows(lang))
    link = tag("a", text(HOME, "all", lang), href="/jobs")
    return joined([tag("div", tag("h2", text(HOME, "newest", lang)), link, class_="page-head"), table])


def help_body(lang: Language, places: Mapping[str, str]) -> Markup:
    """The help, in sections; `places`: the pages by their names in FRAME and HELP."""
    pages = [
        part
        for name, address in places.items()
        for part in (
            tag("dt", tag("a", text(FRAME, name, lang), href=address)),
            tag("dd", text(HELP, f"{name}_about", lang)),
        )
    ]
    keys = [
        part for key, name in KEYS.items() for part in (tag("dt", tag("kbd", name)), tag("dd", text(HELP, key, lang)))
    ]
    docs = [
        tag("p", text(HELP, "docs_about", lang)),
        tag("p", text(HELP, "docs_command", lang)),
        tag("pre", "eyegraft --help\neyegraft jobs submit --help"),
        tag("p", text(HELP, "api", lang), " ", tag("a", "/openapi.json", href="/openapi.json")),
    ]
    return joined(
        [
            tag("div", tag("h1", text(HELP, "title", lang)), class_="page-head"),
            tag("section", tag("h2", text(HELP, "pages", lang)), tag("dl", *pages, class_="help-list"), class_="card"),
            tag(
                "section", tag("h2", text(HELP, "keyboard", lang)), tag("dl", *keys, class_="help-list"), class_="card"
            ),
            tag("section", tag("h2", text(HELP, "docs", lang)), *docs, class_="card"),
        ]
    )
