"""SwanLab: online with a login, or into the run folder with SWANLAB_MODE=offline or local."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from llm.track.tracker import PROJECT, Answer, Answers, Point, TrackedRun, TrackerKind


class SwanlabRun:
    """A run of SwanLab. Nothing is sent but what is logged here: no code, git state, packages or machine figures."""

    def __init__(self, run: TrackedRun) -> None:
        import swanlab

        settings = _quiet_settings()
        self._run = swanlab.init(
            project=swanlab.Settings().project.name or PROJECT,
            name=run.name,
            id=run.id,
            resume="allow",
            log_dir=str(run.folder),
            config=dict(run.settings),
            settings=settings,
        )

    def log(self, points: Sequence[Point]) -> None:
        """Queue figures; SwanLab's threads store and send them."""
        for point in points:
            self._run.log(dict(point.values), step=point.step)

    def log_answers(self, answers: Answers) -> None:
        """Store each answer as text, and its image, under `probes/N`."""
        for number, answer in enumerate(answers.answers, 1):
            self._run.log(_media(f"probes/{number}", answer), step=answers.step)

    def close(self, finished: bool) -> None:
        """Wait until everything is stored, and sent where SwanLab is online."""
        self._run.finish(state="success" if finished else "aborted")


def _quiet_settings() -> "Any":
    from swanlab import Settings

    probe = Settings.Probe(
        hardware=False, runtime=False, requirements=False, conda=False, git=False, swanlab=False, monitor=False
    )
    return Settings(interactive=False, probe=probe, terminal=Settings.Terminal(proxy_type="none"))


def _media(tag: str, answer: Answer) -> "dict[str, Any]":
    import swanlab

    found: dict[str, Any] = {f"{tag}/answer": swanlab.Text(answer.text, caption=answer.prompt)}
    if answer.image is not None:
        found[f"{tag}/image"] = swanlab.Image(answer.image, caption=f"{answer.prompt} -> {answer.text}")
    return found


def _problem() -> str:
    from swanlab import Settings

    settings = Settings()
    if settings.mode == "local" and find_spec("swanboard") is None:
        return "SWANLAB_MODE=local needs swanboard. Run `pip install swanboard`, or set SWANLAB_MODE=offline"
    if settings.mode != "online" or settings.api_key:
        return ""
    return "no login to SwanLab was found. Run `swanlab login`, or set SWANLAB_MODE=offline"


SWANLAB = TrackerKind("swanlab", "swanlab", SwanlabRun, _problem)
