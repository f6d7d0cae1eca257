"""The page of the webhooks: each endpoint, what became of what was sent to it, and two buttons."""

import time

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.messages import said
from demo.job_pages.parts.refresh import refreshed
from demo.job_pages.parts.shell import document
from demo.job_pages.parts.words import STATES, VIEW, WEBHOOKS, text
from demo.pages.language import preferred_language
from llm.errors import ServiceError
from llm.i18n.translate import Language
from vlm.service.store.delivery_table import count_deliveries, newest_delivery, send_again
from vlm.service.store.rows import WebhookEndpoint
from vlm.service.store.webhook_table import (
    MOST_ENDPOINTS,
    UnknownEndpointError,
    find_endpoint,
    list_endpoints,
    update_endpoint,
)

ACTIONS = ("resend", "switch_on")


def webhook_page_routes(context: PageContext) -> APIRouter:
    """The routes; no part of the API, by which endpoints are made."""
    routes, database = APIRouter(include_in_schema=False), context.service.database

    @routes.get("/webhooks")
    def page(request: Request) -> HTMLResponse:
        """The page."""
        lang = preferred_language(request.headers)
        title, parts = text(WEBHOOKS, "title", lang), webhook_parts(context, lang)
        back = tag("p", tag("a", f"← {text(VIEW, 'all_jobs', lang)}", href="/jobs"), class_="back")
        notice = tag("p", id="notice", class_="notice", role="alert", hidden=True)
        body = tag("div", back, tag("div", tag("h1", title), class_="page-head"), notice)
        hooks = tag("div", parts["webhooks"], id="webhooks", data_poll="/pages/webhooks")
        return HTMLResponse(document(title, "jobs", joined([body, hooks]), lang, parts["machine"]))

    @routes.get("/pages/webhooks")
    def parts(request: Request, stamp: str = "") -> Response:
        """What the page is now."""
        return refreshed(webhook_parts(context, preferred_language(request.headers)), stamp)

    @routes.post("/pages/webhooks/{name}/{action}")
    def change(request: Request, name: str, action: str) -> JSONResponse:
        """A button was pressed."""
        if action not in ACTIONS:
            return JSONResponse({"error": "there is no such action"}, 404)
        try:
            endpoint = find_endpoint(database, name)
            if action == "resend":
                send_again(database, name, None, time.time())
            else:
                update_endpoint(database, name, url=endpoint.url)
        except ServiceError as error:
            status = 404 if isinstance(error, UnknownEndpointError) else 503
            return JSONResponse({"error": said(str(error), preferred_language(request.headers))}, status)
        return JSONResponse({"go": ""})

    return routes


def webhook_parts(context: PageContext, lang: Language) -> dict[str, Markup]:
    """The parts of the page by the ids of their elements."""
    endpoints, _ = list_endpoints(context.service.database, MOST_ENDPOINTS)
    cards = [_card(context, endpoint, lang) for endpoint in endpoints]
    empty = tag("p", text(WEBHOOKS, "empty", lang), class_="card empty")
    return {"machine": context.machine(lang), "webhooks": joined(cards or [empty])}


def _card(context: PageContext, endpoint: WebhookEndpoint, lang: Language) -> Markup:
    database, is_off = context.service.database, endpoint.gone_at is not None
    counts, newest = count_deliveries(database, endpoint.id), newest_delivery(database, endpoint.id)
    badge = tag("span", text(WEBHOOKS, "off" if is_off else "on", lang), class_=f"badge {'failed' if is_off else ''}")
    facts = [(text(WEBHOOKS, state, lang), f"{count:,}") for state, count in counts.items()]
    if newest is not None:
        state, outcome = newest.event_type.rpartition(".")[2], text(WEBHOOKS, newest.state, lang)
        shown = text(WEBHOOKS, "of_job", lang, newest.job, text(STATES, state, lang), outcome)
        facts.append((text(WEBHOOKS, "newest", lang), shown))
    if endpoint.last_error is not None:
        facts.append((text(WEBHOOKS, "error", lang), said(endpoint.last_error, lang)))
    buttons = [
        _button(endpoint, "resend", lang) if counts["given_up"] else None,
        _button(endpoint, "switch_on", lang) if is_off else None,
    ]
    return tag(
        "section",
        tag("h2", f"{endpoint.name} ", badge),
        tag("p", endpoint.url.partition("?")[0], class_="quiet"),  # keys of receivers are in queries
        tag(
            "dl",
            *(tag("div", tag("dt", name), tag("dd", value), class_="fact") for name, value in facts),
            class_="facts",
        ),
        tag("p", *buttons, class_="actions") if any(buttons) else None,
        id=f"hook-{endpoint.id}",
        class_="card",
    )


def _button(endpoint: WebhookEndpoint, action: str, lang: Language) -> Markup:
    address = f"/pages/webhooks/{endpoint.id}/{action}"
    return tag("button", text(WEBHOOKS, action, lang), type="button", class_="button", data_act=address)
