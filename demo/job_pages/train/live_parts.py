"""What the Train page shows of a form that is being filled in: the look at the data, a hint, the request."""

from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.words import text
from demo.job_pages.train.data_look import LookAnswer
from demo.job_pages.train.data_looks import DataLooks
from demo.job_pages.train.form import request_tabs
from demo.job_pages.train.look_view import look_view
from demo.job_pages.train.model_choices import model_choices
from demo.job_pages.train.request_text import as_command, as_curl, as_json, as_python
from demo.job_pages.train.values import FieldMistake, TrainValues, request_of
from demo.job_pages.train.words import LOOK, MISTAKES
from llm.i18n.translate import Language
from vlm.service.store.rows import StoredFile

LOST_IMAGE = "image-missing"  # the code of a record whose image is not found


class LiveParts:
    """The parts by the ids of their elements."""

    def __init__(self, context: PageContext, looks: DataLooks) -> None:
        self._context, self._looks = context, looks

    def parts(self, values: TrainValues, lang: Language, base: str) -> dict[str, Markup]:
        """The parts for these values; `base`: the address of the service as the browser knows it."""
        file = self._file(values.file)
        look = self._look(values)
        shown = look_view(look, file, lang) if file is not None else Markup("")
        return {
            "machine": self._context.machine(lang),
            "train-look": shown,
            "train-hint": self._hint(look, values, lang),
            "train-request": self._request(values, lang, base.rstrip("/")),
        }

    def is_seen(self, values: TrainValues) -> bool:
        """Whether the look at the data is over."""
        look = self._look(values)
        return self._file(values.file) is None or (look is not None and look.done)

    def _file(self, name: str) -> StoredFile | None:
        return self._context.service.files.find(name) if name else None

    def _look(self, values: TrainValues) -> LookAnswer | None:
        file = self._file(values.file)
        return self._looks.of(file, self._file(values.images)) if file is not None else None

    def _hint(self, look: LookAnswer | None, values: TrainValues, lang: Language) -> Markup:
        """What data and model do not have of each other."""
        if look is None or not look.done or look.error:
            return Markup("")
        has_images = look.images > 0 or LOST_IMAGE in look.counts
        sees = bool(values.tower) or values.model in model_choices(self._context).seeing
        hints = []
        if has_images and values.model and not sees:
            hints.append(text(LOOK, "needs_tower", lang, values.model))
        if values.tower and not has_images:
            hints.append(text(LOOK, "no_images", lang))
        if LOST_IMAGE in look.counts and not values.images:
            hints.append(text(LOOK, "needs_images", lang))
        return joined(tag("p", hint, class_="hint") for hint in hints)

    def _request(self, values: TrainValues, lang: Language, base: str) -> Markup:
        try:
            body = request_of(values)
        except FieldMistake as mistake:
            return tag("p", text(MISTAKES, mistake.field, lang, mistake.found), class_="mistake")
        ids = (values.file, values.validation, values.images)
        files = {name: found.filename or name for name in ids if (found := self._file(name)) is not None}
        shown = {
            "as_json": as_json(body),
            "as_curl": as_curl(body, base),
            "as_python": as_python(body, base),
            "as_command": as_command(body, files),
        }
        return request_tabs(shown, lang)
