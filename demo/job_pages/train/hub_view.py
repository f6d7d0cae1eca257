"""The field that names a model of the hub, and the downloads with their progress and buttons."""

from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.messages import said
from demo.job_pages.parts.value_text import size_text
from demo.job_pages.parts.words import text
from demo.job_pages.train.words import HUB
from demo.jobs.service_library import is_tower
from llm.i18n.translate import Language
from vlm.service.downloads.downloads import UNDER_WAY
from vlm.service.downloads.record import Download

DOWNLOADS = "/pages/downloads"


def hub_field(context: PageContext, shown: Markup, lang: Language) -> Markup | None:
    """The field, where the operator allows downloads; `shown`: the downloads."""
    listed = tag("ul", shown, id="train-downloads", class_="chosen", aria_live="polite")
    if not context.service.downloads.permission.allowed:
        return listed
    label = tag("label", text(HUB, "hub", lang), for_="field-hub")
    about = tag("p", text(HUB, "hub_about", lang), class_="quiet", id="help-hub")
    box = tag(
        "input", type="text", id="field-hub", placeholder="Qwen/Qwen2.5-0.5B-Instruct", autocomplete="off",
        spellcheck="false", aria_describedby="help-hub mistake-hub", maxlength=200, data_hub=DOWNLOADS,
    )  # fmt: skip
    button = tag("button", text(HUB, "download", lang), type="button", class_="button", id="hub-download")
    mistake = tag("p", "", class_="mistake", id="mistake-hub", role="alert", hidden=True)
    return tag("div", label, about, tag("div", box, button, class_="hub-row"), mistake, listed, class_="field")


def download_list(context: PageContext, lang: Language) -> Markup:
    """The downloads, newest first."""
    return joined(_item(context, download, lang) for download in context.service.downloads.all())


def is_downloading(context: PageContext) -> bool:
    """Whether the list will be another one soon."""
    return any(download.state in UNDER_WAY for download in context.service.downloads.all())


def _item(context: PageContext, download: Download, lang: Language) -> Markup:
    downloads = context.service.downloads
    done, total, ready = downloads.done_bytes(download), download.total, download.state == "ready"
    state = "checking" if download.state == "downloading" and done >= total else download.state
    sizes = (size_text(total),) if ready else (size_text(done), size_text(total))
    line = tag("span", text(HUB, state, lang, *sizes), class_="quiet")
    bar = None
    if download.state in UNDER_WAY:
        label = text(HUB, "progress", lang, download.model)
        bar = tag("progress", value=done, max=max(total, 1), aria_label=label)
    error = tag("p", said(download.error, lang), class_="mistake") if download.error else None
    kind = ("tower" if is_tower(downloads.model_folder(download)) else "model") if ready else None
    parts = [tag("span", download.model), line, *_buttons(download, lang), bar, error]
    return tag("li", *parts, id=download.id, class_="download", data_here=kind, data_model=download.model)


def _buttons(download: Download, lang: Language) -> list[Markup]:
    """Cancel what is under way; go on with what has ended early; delete what is here."""
    actions = ["cancel"] if download.state in UNDER_WAY else ["delete"]
    if download.state in ("failed", "cancelled"):
        actions.insert(0, "again")
    return [_button(download, action, lang) for action in actions]


def _button(download: Download, action: str, lang: Language) -> Markup:
    """One button; its name for screen readers has the model's."""
    address = DOWNLOADS if action == "again" else f"{DOWNLOADS}/{download.id}/{action}"
    ask = text(HUB, "ask_delete", lang, download.model) if action == "delete" else None
    return tag(
        "button", text(HUB, action, lang), type="button", class_="button small", data_hub_act=address, data_hub_ask=ask,
        aria_label=f"{text(HUB, action, lang)}: {download.model}",
    )  # fmt: skip
