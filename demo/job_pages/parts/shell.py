"""The frame of every page: header with the pages, the machine and the languages; style sheet and script."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

from fastapi.responses import Response

from demo.api.errors import ApiError
from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.words import FRAME, VIEW, text
from demo.pages.theme import THEMES
from demo.server.guard import ErrorResponse
from llm.i18n.translate import Language

STATIC = Path(__file__).parent.with_name("static")
SHEETS = ("tokens.css", "header.css", "page.css")  # of every page
ASSETS = {
    **dict.fromkeys(SHEETS, "text/css"),
    "home.css": "text/css",
    "train.css": "text/css",
    "jobs.css": "text/css",
    "curves.css": "text/css",
    "page.js": "text/javascript",
    "find_settings.js": "text/javascript",
    "zip_images.js": "text/javascript",
    "train.js": "text/javascript",
    "jobs.js": "text/javascript",
    "curve_chart.js": "text/javascript",
    "curves.js": "text/javascript",
}
PAGES = {"jobs": "/jobs", "train": "/train", "chat": "/chat", "compare": "/compare", "data": "/data"}
YEAR_S = 365 * 24 * 3600
MACHINE_MS = 5000  # between two looks at the machine
TAGS: dict[Language, str] = {"en": "en", "zh": "zh-CN"}
ICON = (
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><path d='M2 16c6-11 22-11 28 0-6 "
    "11-22 11-28 0Z' fill='%232f5fd0'/><circle cx='16' cy='16' r='6' fill='white'/></svg>"
)


@cache
def asset(name: str) -> tuple[bytes, str]:
    """The content of a static file and its digest, which is part of its address."""
    content = (STATIC / name).read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:12]


def asset_url(name: str) -> str:
    """The address of a static file; it changes with the content, so that browsers may keep it."""
    return f"/pages/static/{name}?{urlencode({'v': asset(name)[1]})}"


def static_file(name: str) -> Response:
    """The answer to a request for a static file. Raises ApiError for a name that is none."""
    if name not in ASSETS:
        raise ApiError(ErrorResponse(404, "there is no such file", code="not_found"))
    headers = {"cache-control": f"public, max-age={YEAR_S}, immutable"}
    return Response(asset(name)[0], media_type=ASSETS[name], headers=headers)


def document(
    title: str,
    active: str,
    body: Markup,
    lang: Language,
    machine: Markup,
    refresh: int = 0,
    more: Sequence[str] = (),
    pages: Mapping[str, str] = PAGES,
) -> str:
    """A complete page. `active` is its key in `pages`; `refresh`: seconds after which the browser loads it again.

    `more`: style sheets and scripts of the page's own, after those of all pages.
    """
    files = (*SHEETS, "page.js", *more)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", http_equiv="refresh", content=refresh) if refresh else None,
        tag("title", f"{title} · Eyegraft"),
        Markup(f'<link rel="icon" href="{ICON}">'),
        *(tag("link", rel="stylesheet", href=asset_url(name)) for name in files if name.endswith(".css")),
        *(tag("script", src=asset_url(name), defer=True) for name in files if name.endswith(".js")),
    )
    skip = tag("a", text(FRAME, "skip", lang), href="#main", class_="skip")
    main = tag("main", body, id="main", tabindex="-1")
    lost = tag("p", text(FRAME, "lost", lang), id="lost", role="status", hidden=True)
    body = tag("body", skip, header(active, lang, machine, pages), lost, main, _question(lang))
    page = tag("html", head, body, lang=TAGS[lang])
    return f"<!doctype html>\n{page}"


def _question(lang: Language) -> Markup:
    """What is asked before something is lost; the script fills it in."""
    keep = tag("button", text(VIEW, "keep", lang), type="button", value="no", class_="button", autofocus=True)
    yes = tag("button", "", type="button", value="yes", class_="button danger", id="ask-yes")
    inner = (tag("p", "", id="ask-text"), tag("div", keep, yes, class_="actions"))
    return tag("dialog", *inner, id="ask", aria_labelledby="ask-text")


def header(
    active: str, lang: Language, machine: Markup, pages: Mapping[str, str] = PAGES, poll: str | None = None
) -> Markup:
    """Name, pages, machine, themes, languages, help; `poll`: the address at which the machine is asked for again."""
    links = [
        tag("a", text(FRAME, key, lang), href=address, aria_current="page" if key == active else None, data_page=key)
        for key, address in pages.items()
    ]
    languages = [
        tag("a", name, href=f"?lang={key}", lang=TAGS[key], hreflang=TAGS[key], class_="on" if key == lang else None)
        for key, name in LANGUAGES.items()
    ]
    themes = [
        tag("a", text(FRAME, key, lang), href=f"?theme={key}", data_choice=key, title=text(FRAME, f"{key}_title", lang))
        for key in THEMES
    ]
    return tag(
        "header",
        tag("a", "Eyegraft", href="/", class_="brand"),
        tag("p", text(FRAME, "tagline", lang), class_="tagline"),
        tag("nav", *links, class_="pages", aria_label=text(FRAME, "pages", lang)) if links else None,
        tag("div", machine, id="machine", data_poll=poll, data_every=MACHINE_MS if poll else None),
        tag("nav", *themes, class_="themes", aria_label=text(FRAME, "theme", lang)),
        tag("nav", *languages, class_="languages", aria_label="Language, 语言"),
        tag("a", text(FRAME, "help", lang), href="/help", class_="help", data_page="help"),
        class_="top",
    )


LANGUAGES: dict[Language, str] = {"en": "English", "zh": "中文"}


def machine_line(
    slots: int, busy: int, waiting: int, devices: str, lang: Language, running: tuple[str, str] | None = None
) -> Markup:
    """What the service runs on, how much of it is in use, and the job that runs: its name and address."""
    state = text(FRAME, "busy", lang, busy, slots) if busy else text(FRAME, "idle", lang)
    queue = text(FRAME, "queue_length", lang, waiting) if waiting else None
    link = tag("a", running[0], href=running[1], title=text(FRAME, "runs_now", lang)) if running else None
    return machine_parts(bool(busy), (devices, state, queue or ""), text(FRAME, "slots", lang), link)


def machine_parts(busy: bool, words: Sequence[str], title: str, link: Markup | None = None) -> Markup:
    """The line as markup, without empty words."""
    dot = tag("span", class_="dot on" if busy else "dot", aria_hidden="true")
    return joined([dot, tag("span", " · ".join(filter(None, words)), title=title), link])
