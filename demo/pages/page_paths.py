"""The addresses of gradio's page: what its frontend asks for, out of some sixty that gradio has.

Known without gradio: a service builds the page when it is first opened.
"""

from demo.server.guard import UPLOAD

FILE = "/gradio_api/file="
STREAM = "/gradio_api/queue/data"
EVENTS = frozenset({"/gradio_api/queue/join", "/gradio_api/run/predict"})
POST_PATHS = EVENTS | {UPLOAD, "/gradio_api/cancel", "/gradio_api/reset"}
# The others fetch URLs, serve files of other folders and call functions by name.
GET_PATHS = frozenset(
    {
        "/",
        "/config",
        "/theme.css",
        "/gradio_api/theme.css",
        "/favicon.ico",
        "/robots.txt",
        "/gradio_api/app_id",
        STREAM,
        "/gradio_api/upload_progress",
    }
)
GET_PREFIXES = ("/assets/", "/static/", "/svelte/", "/gradio_api/heartbeat/")
