"""The step of the data: files are dropped or chosen, an identity is written, and what was found is shown below."""

from urllib.parse import urlencode

from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.messages import said
from demo.job_pages.parts.value_text import size_text
from demo.job_pages.train.controls import Form, card, labelled, mistake_place, options, select
from llm.formats.image_paths import SUFFIXES
from vlm.service.store.file_table import list_files
from vlm.service.store.rows import Purpose, StoredFile

SHOWN_FILES = 100
GIB = 1 << 30
MANY_GIB = 10 * GIB
ACCEPTED: dict[Purpose, str] = {
    "fine-tune": ".jsonl,.json,.csv,.tsv,.parquet,.arrow,.xlsx,.txt,.gz,.zst,.bz2,.xz",
    "vision": ".zip,.tar,.gz,.tgz,.xz,.bz2",
}
IMAGES = ",".join(sorted(SUFFIXES))
LANGUAGES = {"en": "english", "zh": "chinese", "zh,en": "both"}


def data_card(form: Form, look: Markup, records: Markup) -> Markup:
    """The card. `look`: what was found; `records`: the first ones as the model reads them."""
    shown = [
        tag("div", look, id="train-look", aria_live="polite"),
        tag("div", records, id="train-records"),
    ]
    more = [_one_file(form, "validation", "fine-tune"), _one_file(form, "images", "vision")]
    opened = bool(form.values.validation or form.values.images)
    extra = tag("details", tag("summary", form.said("more_data")), *more, open=opened, id="more-data")
    return card(form, "data", _files(form), *shown, extra, _identity(form))


def _files(form: Form) -> Markup:
    """The chosen files, a place to drop more, and those that were uploaded earlier."""
    stored = _stored(form, "fine-tune")
    files = form.context.service.files
    chosen = [chosen_file(files.find(one), one, form) for one in form.values.files]
    names = {"": form.said("choose"), **{one.id: _labelled_file(one) for one in stored}}
    offered = [tag("option", shown, value=value) for value, shown in names.items()]
    kept = tag("select", *offered, id="stored-file")
    said = tag("span", form.said("stored"), class_="quiet")
    earlier = tag("label", said, kept, class_="earlier", for_="stored-file") if stored else None
    about = tag("p", f"{form.said('file_about')} {_limit(form)}", class_="quiet", id="help-file")
    title = tag("h3", form.said("file"), id="label-file")
    listed = tag(
        "ul",
        *chosen,
        id="chosen-file",
        class_="chosen",
        data_leave=form.said("leave_out", "{}"),
        data_records=form.said("records"),
        data_records_of=form.said("records_of", "{}"),
        data_delete=form.said("delete"),
        data_delete_of=form.said("delete_of", "{}"),
        data_ask=form.said("ask_delete", "{}"),
    )
    drop = _drop(form, "file", f"{ACCEPTED['fine-tune']},{ACCEPTED['vision']},{IMAGES}", several=True)
    inner = (title, about, listed, drop, _status("file"), mistake_place("file"), earlier)
    return tag("div", *inner, class_="field", id="part-file", role="group", aria_labelledby="label-file")


def chosen_file(file: StoredFile | None, name: str, form: Form) -> Markup:
    """A file that is trained on, with a link to its records, and the buttons that delete it and leave it out."""
    shown = file.filename if file is not None and file.filename else name
    leave = form.said("leave_out", shown)
    button = tag(
        "button", "×", type="button", class_="button small", data_leave_out=True, aria_label=leave, title=leave
    )
    size = tag("span", size_text(file.bytes), class_="quiet") if file is not None else None
    title = form.said("records_of", shown)
    records = tag("a", form.said("records"), href=f"/data?{urlencode({'file': name})}", aria_label=title, title=title)
    gone = form.said("delete_of", shown)
    delete = tag(
        "button", form.said("delete"), type="button", class_="button small", data_delete_file=True, aria_label=gone,
        title=gone,
    )  # fmt: skip
    held = tag("input", type="hidden", name="file", value=name)
    return tag("li", held, tag("span", shown), size, records, delete, button)


def _one_file(form: Form, name: str, purpose: Purpose) -> Markup:
    """A choice among uploaded files, and a place to drop another."""
    names = {"": form.said("none"), **{one.id: _labelled_file(one) for one in _stored(form, purpose)}}
    control = select(name, options(list(names), form.values.text(name), names))
    images = purpose == "vision"
    drop = _drop(form, name, f"{ACCEPTED[purpose]},{IMAGES}" if images else ACCEPTED[purpose], several=images)
    return labelled(form, name, joined([drop, control, _status(name)]), about=True)


def _too_large(form: Form) -> str:
    """What is said of a file that is too large: with its bytes and the most that fit, or why nothing fits."""
    most, error = form.context.service.files.room()
    sizes = form.said("too_large", "{}", "{}")
    return sizes if most else said(str(error), form.lang)


def _drop(form: Form, name: str, accepted: str, several: bool = False) -> Markup:
    hidden = tag(
        "input",
        type="file",
        accept=accepted,
        multiple=several,
        id=f"upload-{name}",
        class_="eg-hidden",
        data_upload=name,
        data_most=form.context.service.files.room()[0],
        data_progress=form.said("uploading", "{}", "{}"),
        data_here=form.said("uploaded", "{}"),
        data_large=_too_large(form),
        data_only_one=form.said("only_one"),
        data_images=IMAGES,
        data_packing=form.said("packing", "{}"),
        data_packed_into=form.said("packed_into", "{}"),
        data_instead=form.said("packed_instead", "{}"),
        data_lacking=form.said("packed_lacking"),
        data_too_many=form.said("packed_too_many"),
    )
    shown = (tag("span", form.said("upload"), class_="button"), tag("span", form.said("or_drop"), class_="quiet"))
    return tag("label", hidden, *shown, class_="drop")


def _status(name: str) -> Markup:
    return tag("p", "", class_="quiet status", role="status", id=f"status-{name}", hidden=True)


def _identity(form: Form) -> Markup:
    """Data that is made from a name; its fields are no part of the job."""
    names = {key: form.said(word) for key, word in LANGUAGES.items()}
    chosen = [tag("option", shown, value=key, selected=key == form.lang) for key, shown in names.items()]
    boxes = [_made("name"), _made("author")]
    fields = [
        tag("label", tag("span", form.said(f"identity_{key}")), control, class_="earlier")
        for key, control in (("name", boxes[0]), ("author", boxes[1]),
                             ("languages", tag("select", *chosen, data_identity="languages")))
    ]  # fmt: skip
    button = tag("button", form.said("identity_make"), type="button", class_="button", id="make-identity")
    about = tag("p", form.said("identity_about"), class_="quiet")
    mistake = tag("p", "", class_="mistake", id="mistake-identity", role="alert", hidden=True)
    made = tag(
        "p", "", class_="quiet status", role="status", id="status-identity", hidden=True,
        data_made=form.said("identity_made", "{}"),
    )  # fmt: skip
    head = tag("summary", form.said("identity"))
    return tag("details", head, about, tag("div", *fields, class_="grid"), mistake, button, made, id="identity")


def _made(name: str) -> Markup:
    return tag("input", type="text", data_identity=name, autocomplete="off", maxlength=100)


def _stored(form: Form, purpose: Purpose) -> list[StoredFile]:
    files, _ = list_files(form.context.service.database, SHOWN_FILES, purpose=purpose)
    return list(files)


def _labelled_file(file: StoredFile) -> str:
    return f"{file.filename or file.id} ({size_text(file.bytes)})"


def _limit(form: Form) -> str:
    """The most that fits; of many GiB the complete ones, since the disk's free space changes all the time."""
    most = form.context.service.files.room()[0]
    return form.said("limit", size_text(most // GIB * GIB if most >= MANY_GIB else most))
