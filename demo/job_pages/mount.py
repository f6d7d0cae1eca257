"""The pages are added to the application of the service."""

import hmac

from fastapi import FastAPI
from starlette.middleware import Middleware

from demo.job_pages.chat_site import ChatSite
from demo.job_pages.curves.routes import curve_routes
from demo.job_pages.export_page_routes import export_page_routes
from demo.job_pages.home import home_routes
from demo.job_pages.job_page_routes import job_page_routes, run_page_routes
from demo.job_pages.page_routes import page_routes
from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.job_curves import JobCurves
from demo.job_pages.parts.loss_cache import LossCache
from demo.job_pages.train.download_routes import page_download_routes
from demo.job_pages.train.routes import train_routes
from demo.job_pages.train.upload_routes import upload_routes
from demo.job_pages.webhook_page import webhook_page_routes
from demo.jobs.launch import ServedModels, ServiceOptions, gate_question, largest_slot
from demo.jobs.service_library import ServiceLibrary
from demo.pages.language import LanguageChoice
from demo.pages.theme import ThemeChoice
from vlm.service.gate_record import GateQuestion
from vlm.service.service import Service
from vlm.service.store.rows import Job

PLACES = frozenset({"jobs", "runs", "curves", "train", "webhooks", "chat", "compare", "data", "help"})


def mount_pages(app: FastAPI, options: ServiceOptions, service: Service, served: ServedModels) -> None:
    """Jobs and Train at their addresses; Chat, Compare and Data, gradio's, are built when one is first opened."""
    losses, curves = LossCache(service.database), JobCurves(service.database)

    def question_of(job: Job) -> GateQuestion:
        return gate_question(options, service.database, service.layout, service.files, largest_slot(options), job)

    context = PageContext(service, options.models, options.slots, losses, curves, question_of)
    app.include_router(home_routes(context))
    app.include_router(page_routes(context))
    app.include_router(export_page_routes(context))  # before those of a job, which take any action
    app.include_router(job_page_routes(context))
    app.include_router(run_page_routes(context))
    app.include_router(curve_routes(context))
    app.include_router(train_routes(context))
    app.include_router(page_download_routes(context))
    app.include_router(webhook_page_routes(context))
    app.include_router(upload_routes(context))
    library = ServiceLibrary(service, options.models, served.opened)
    # The innermost middleware: it runs after the guard. Not HTML: gradio's page has a language of its own.
    app.user_middleware.append(Middleware(ThemeChoice, pages=is_page))
    app.user_middleware.append(Middleware(LanguageChoice, pages=is_page))
    app.user_middleware.append(
        Middleware(
            ChatSite,
            context=context,
            library=library,
            queue=served.queue,
            limits=options.limits,
            secret=browser_secret(options.token),
        )
    )


def browser_secret(token: str) -> str:
    """With what chats are encrypted in browsers: it lasts as long as the service's key, and does not give it away."""
    return hmac.new(token.encode(), b"what a browser stores of the chats", "sha256").hexdigest()


def is_page(path: str) -> bool:
    """Whether a person opens the address, who may have chosen a language."""
    return path == "/" or path.strip("/").partition("/")[0] in PLACES
