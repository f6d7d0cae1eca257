"""What the Train page shows of a form that is being filled in: the look at the data, a hint, the plan, the request."""

from dataclasses import dataclass
from typing import Any

from demo.job_pages.parts.context import PageContext
from demo.job_pages.parts.disk_note import disk_note
from demo.job_pages.parts.markup import Markup, joined, tag
from demo.job_pages.parts.words import text
from demo.job_pages.plan.first_estimate import least_bytes
from demo.job_pages.plan.plan_view import plan_line, plan_view, records_view, start_part
from demo.job_pages.plan.plans import Plans, PlanState
from demo.job_pages.train.data_look import LookAnswer
from demo.job_pages.train.data_looks import DataLooks
from demo.job_pages.train.form import request_tabs
from demo.job_pages.train.hub_view import download_list, is_downloading
from demo.job_pages.train.look_view import archive_mistake, look_view
from demo.job_pages.train.model_choices import model_choices
from demo.job_pages.train.recipe_preview import preview_recipe, recipe_yaml, resolved_settings
from demo.job_pages.train.request_text import as_command, as_curl, as_json, as_python
from demo.job_pages.train.values import FieldMistake, TrainValues, field_of, mistakes_of, request_of
from demo.job_pages.train.words import FORM, LOOK
from llm.config.schema import RunConfig
from llm.errors import ConfigError
from llm.i18n.translate import Language, translated
from vlm.service.store.job_table import model_job
from vlm.service.store.rows import StoredFile

LOST_IMAGE = "image-missing"  # the code of a record whose image is not found


@dataclass(frozen=True, slots=True)
class Live:
    """What is shown: parts by the ids of their elements, mistakes by field, and what each empty setting is.

    `more`: whether there will be more soon.
    """

    parts: dict[str, Markup]
    mistakes: dict[str, str]
    auto: dict[str, str]
    more: bool


class LiveParts:
    """The parts of the page for the values of a form."""

    def __init__(self, context: PageContext, looks: DataLooks, plans: Plans) -> None:
        self._context, self._looks, self._plans = context, looks, plans

    def live(self, values: TrainValues, lang: Language, base: str, form: str = "") -> Live:
        """What is shown of these values; `base`: the address of the service as the browser knows it.

        `form` names the form that is open, for which a plan is made; empty: a plan is shown only if it is there.
        """
        mistakes = mistakes_of(values, lang, self.sees(values))
        files = self._files(values)
        looks = self._all_looks(values)
        config, problem = self._recipe(values, mistakes, looks, files)
        looking = any(look is None or not look.done for look in looks.values())
        plan = self._plan(values, mistakes, problem or looking, form)
        wrong = _plan_mistake(plan, lang) | _archive_mistake(looks, lang)
        parts = {
            "machine": self._context.machine(lang),
            "train-disk": disk_note(self._context.service.layout.root, lang),
            "train-look": self._look_parts(values, looks, lang),
            "train-records": records_view(plan.forecast, lang) if plan and plan.forecast else Markup(""),
            "train-downloads": download_list(self._context, lang),
            "train-hint": self._hint(values, looks, lang),
            "train-plan": self._plan_part(values, plan, config, mistakes, problem, looks, lang),
            "train-start": start_part(plan, lang),
            "train-request": self._request(values, config, files, lang, base.rstrip("/")),
        }
        auto = resolved_settings(config) if config is not None else {}
        planning = bool(form) and plan is not None and not plan.done
        return Live(parts, wrong | mistakes, auto, looking or planning or is_downloading(self._context))

    def sees(self, values: TrainValues) -> bool:
        """Whether the model reads images already."""
        return values.model in model_choices(self._context).seeing

    def _files(self, values: TrainValues) -> dict[str, StoredFile]:
        """The uploads of the form that are there, by their ids."""
        names = (*values.files, values.validation, values.images)
        return {name: file for name in names if name and (file := self._context.service.files.find(name))}

    def _all_looks(self, values: TrainValues) -> dict[str, LookAnswer | None]:
        """What was seen of each data file; looks are started."""
        files = self._files(values)
        images = files.get(values.images)
        wanted = [name for name in (*values.files, values.validation) if name in files]
        return {name: self._looks.of(files[name], images) for name in wanted}

    def _look_parts(self, values: TrainValues, looks: dict[str, LookAnswer | None], lang: Language) -> Markup:
        files = self._files(values)
        shown = []
        for name, look in looks.items():
            title = tag("h4", files[name].filename or name) if len(looks) > 1 else None
            shown.append(tag("div", title, look_view(look, files[name], lang), id=f"look-{name}", class_="look"))
        if not values.images and any(look is not None and LOST_IMAGE in look.counts for look in looks.values()):
            shown.append(tag("p", text(LOOK, "needs_images", lang), class_="hint"))
        return joined(shown)

    def _recipe(
        self,
        values: TrainValues,
        mistakes: dict[str, str],
        looks: dict[str, LookAnswer | None],
        files: dict[str, StoredFile],
    ) -> tuple[RunConfig | None, str]:
        """The recipe where there is one, and why the form makes none, in English."""
        if not values.files or not values.model or mistakes:
            return None, ""
        service = self._context.service
        job = model_job(service.database, values.model)
        start = service.layout.run(job.id) if job is not None else None
        try:
            return preview_recipe(request_of(values), files, start, self._context.models, _records(values, looks)), ""
        except (ConfigError, OSError) as error:
            return None, str(error)

    def _plan(self, values: TrainValues, mistakes: dict[str, str], not_yet: str | bool, form: str) -> PlanState | None:
        """The plan of a form that could be submitted; else none, and one that was begun for it is ended."""
        files = self._files(values)
        names = [name for name in (*values.files, values.validation, values.images) if name]
        offered = values.model and self._context.service.offers(values.model)
        if mistakes or not_yet or not offered or not values.files or any(name not in files for name in names):
            self._plans.cancel(form)
            return None
        return self._plans.of(request_of(values), form)

    def _plan_part(
        self,
        values: TrainValues,
        plan: PlanState | None,
        config: RunConfig | None,
        mistakes: dict[str, str],
        problem: str,
        looks: dict[str, LookAnswer | None],
        lang: Language,
    ) -> Markup:
        if problem:
            return tag("p", translated(problem, lang), class_="verdict bad")
        if plan is None:
            looking = any(look is None or not look.done for look in looks.values())
            return plan_line("mistakes" if mistakes else "looking" if looking and values.model else "nothing", lang)
        memory = max(slot.memory for slot in self._context.slots)
        least = least_bytes(config) if config is not None and plan.answer is None else 0
        return plan_view(plan, memory, config, _records(values, looks), lang, least)

    def _hint(self, values: TrainValues, looks: dict[str, LookAnswer | None], lang: Language) -> Markup:
        """What data and model do not have of each other."""
        seen = [look for look in looks.values() if look is not None and look.done and not look.error]
        if not seen or len(seen) < len(looks):
            return Markup("")
        has_images = any(look.images > 0 or LOST_IMAGE in look.counts for look in seen)
        hints = []
        if has_images and values.model and not (values.tower or self.sees(values)):
            hints.append(text(LOOK, "needs_tower", lang, values.model))
        if values.tower and not has_images:
            hints.append(text(LOOK, "no_images", lang))
        return joined(tag("p", hint, class_="hint") for hint in hints)

    def _request(
        self, values: TrainValues, config: RunConfig | None, files: dict[str, StoredFile], lang: Language, base: str
    ) -> Markup:
        try:
            body: dict[str, Any] = request_of(values)
        except FieldMistake as mistake:
            return tag("p", translated(mistake.message, lang), class_="mistake")
        yaml = recipe_yaml(config, body, files, lang) if config is not None else text(FORM, "no_yaml", lang)
        shown = {
            "as_yaml": yaml,
            "as_command": as_command(body, {name: file.filename or name for name, file in files.items()}),
            "as_curl": as_curl(body, base),
            "as_python": as_python(body, base),
            "as_json": as_json(body),
        }
        return request_tabs(shown, lang)


def _records(values: TrainValues, looks: dict[str, LookAnswer | None]) -> int:
    """The records of the data files, as far as they were seen."""
    return sum(look.rows for name in values.files if (look := looks.get(name)) is not None)


def _archive_mistake(looks: dict[str, LookAnswer | None], lang: Language) -> dict[str, str]:
    """What is wrong with the archive of images, at its field."""
    found = [mistake for look in looks.values() if look is not None and (mistake := archive_mistake(look, lang))]
    return {"images": found[0]} if found else {}


def _plan_mistake(plan: PlanState | None, lang: Language) -> dict[str, str]:
    """Why the plan is refused, by the field that its error names."""
    error = plan.answer.error if plan is not None and plan.answer is not None else None
    place = field_of(tuple((error.param or "").split("."))) if error is not None else ""
    return {place: translated(error.message, lang)} if error is not None and place else {}
