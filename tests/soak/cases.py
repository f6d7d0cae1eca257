"""One case: a run is interrupted in one way, goes on, and is held against the run that nobody interrupted."""

import random
import shutil
import signal
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from llm.files.saved_checkpoints import list_checkpoints
from tests.soak.child import LOG, Child, End
from tests.soak.damage import damage, prints
from tests.soak.material import STEPS, write_recipe
from tests.soak.proof import Course, course_of, differences, lives, torn

TRIES = 12  # a random instant may come too late, or miss the save it was meant for


@dataclass(frozen=True, slots=True)
class Case:
    """What is done to which kind of run; `number` is the step, or draws the instant."""

    what: str
    kind: str
    number: int

    @property
    def name(self) -> str:
        """Its folder's name."""
        return f"{self.what}-{self.kind}-{self.number:03d}".replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a case; `wrong` is empty where all was as promised."""

    case: Case
    wrong: list[str]
    where: str  # the run was interrupted there
    seconds: float = 0.0
    took: float = 0.0  # from the signal to the end of the process


@dataclass(frozen=True, slots=True)
class Known:
    """What a worker knows of each kind: the course of the uninterrupted run, and how long that took."""

    root: Path
    courses: dict[str, Course]
    seconds: dict[str, float]
    victims: dict[str, Path] = field(default_factory=dict)  # finished runs to damage, which are restored


def killed_after_step(case: Case, known: Known) -> Verdict:
    """SIGKILL after a step, before its metrics and checkpoint are written."""
    recipe = write_recipe(case.kind, known.root, known.root / case.name)
    end = Child(recipe, kill_after=case.number).end()
    wrong = [] if end.status == -signal.SIGKILL else [f"the process ended with {end.status} before it was killed"]
    return _goes_on(case, known, recipe, wrong, f"after step {case.number}")


def killed_somewhere(case: Case, known: Known) -> Verdict:
    """SIGKILL at a random moment of the process, loading and report included."""
    draw = random.Random(case.name)
    for _ in range(TRIES):
        recipe = _fresh(case, known)
        child, delay = Child(recipe), draw.uniform(0.05, known.seconds[case.kind])
        child.wait(partial(_lived, child, delay))
        child.signal(signal.SIGKILL)
        if child.end().status == -signal.SIGKILL:
            return _goes_on(case, known, recipe, [], _where(recipe.parent))
    return Verdict(case, [f"all of {TRIES} kills came too late"], "")


def killed_in_a_save(case: Case, known: Known) -> Verdict:
    """SIGKILL while a checkpoint is written: its temporary folder is left."""
    draw = random.Random(case.name)
    for _ in range(TRIES):
        recipe = _fresh(case, known)
        wanted = f".step-{3 * draw.randrange(1, STEPS // 3 + 1):06d}.partial"
        begun = recipe.parent / "run" / "checkpoints" / wanted
        child = Child(recipe)
        if child.wait(begun.exists, pause=0.0002) is None:
            time.sleep(draw.uniform(0, 0.02))
            child.signal(signal.SIGKILL)
            child.end()
        if begun.exists():
            return _goes_on(case, known, recipe, [], f"in a save: {wanted}, {len(list(begun.iterdir()))} files in it")
    return Verdict(case, [f"none of {TRIES} kills met a save"], "")


def asked_to_stop(case: Case, known: Known) -> Verdict:
    """SIGTERM (every fifth: SIGINT) during training: the step is saved, the exit status is 128 + signal."""
    draw, number = random.Random(case.name), signal.SIGINT if case.number % 5 == 4 else signal.SIGTERM
    for _ in range(TRIES):
        recipe = _fresh(case, known)
        child, wanted = Child(recipe), draw.randrange(1, STEPS)
        if child.wait(partial(_reached, recipe.parent, wanted)) is None:
            began = time.perf_counter()
            child.signal(number)
            end, took = child.end(), time.perf_counter() - began
            if end.status != 0:
                return _asked(case, known, recipe, end, number, took)
    return Verdict(case, [f"all of {TRIES} signals came after the last step"], "")


def _lived(child: Child, seconds: float) -> bool:
    return time.perf_counter() - child.began > seconds


def _reached(folder: Path, step: int) -> bool:
    return _steps(folder) >= step


def _asked(case: Case, known: Known, recipe: Path, end: End, number: int, took: float) -> Verdict:
    done = _steps(recipe.parent)
    saved = list_checkpoints(recipe.parent / "run")
    wrong = [] if end.status == 128 + number else [f"ended with {end.status}, not {128 + number}"]
    if not saved or saved[-1].name != f"step-{done:06d}":
        wrong.append(f"step {done} was finished, but the newest checkpoint is {saved[-1:]}")
    verdict = _goes_on(case, known, recipe, wrong, f"{signal.Signals(number).name} in step {done}")
    return Verdict(case, verdict.wrong, verdict.where, verdict.seconds, took)


def all_damaged(case: Case, known: Known) -> Verdict:
    """Every checkpoint of a run damaged: refused with status 1, and the run folder does not change."""
    draw, folder = random.Random(case.name), _victim(case, known)
    damages = [f"{path.name}/{damage(path, draw)}" for path in list_checkpoints(folder / "run")]
    before, began = prints(folder / "run"), time.perf_counter()
    end = Child(folder / "recipe.yaml").end()
    wrong = [] if end.status == 1 else [f"{damages}: exited with {end.status}, not 1"]
    wrong += [f"{damages}: the run folder changed"] if prints(folder / "run") != before else []
    wrong += [f"{damages}: trained"] if [len(life) for life in lives(folder / LOG)] != [STEPS, 0] else []
    return Verdict(case, wrong, "; ".join(damages), time.perf_counter() - began)


def newest_damaged(case: Case, known: Known) -> Verdict:
    """The newest checkpoint damaged: it is reported and set aside, and the run resumes from the one before."""
    draw, folder = random.Random(case.name), _victim(case, known)
    newest = list_checkpoints(folder / "run")[-1]
    told, began = f"{newest.name}/{damage(newest, draw)}", time.perf_counter()
    end = Child(folder / "recipe.yaml").end()
    wrong = [] if end.status == 0 else [f"ended with {end.status}"]
    if not (newest.with_name(f"damaged-{newest.name}")).is_dir():
        wrong.append("the damaged checkpoint was not set aside")
    if not wrong:
        wrong = differences(course_of(folder), known.courses[case.kind])
    if len(lives(folder / LOG)) != 2 or not lives(folder / LOG)[1]:
        wrong.append("it did not train again")
    return Verdict(case, [f"{told}: {line}" for line in wrong], told, time.perf_counter() - began)


CASES = {
    "killed after a step": killed_after_step,
    "killed at a random instant": killed_somewhere,
    "killed inside a save": killed_in_a_save,
    "asked to stop": asked_to_stop,
    "all checkpoints damaged": all_damaged,
    "newest checkpoint damaged": newest_damaged,
}


def _fresh(case: Case, known: Known) -> Path:
    folder = known.root / case.name
    shutil.rmtree(folder, ignore_errors=True)
    return write_recipe(case.kind, known.root, folder)


def _victim(case: Case, known: Known) -> Path:
    """A finished run of this worker, restored."""
    folder = known.victims[case.kind]
    for name in ("run", LOG):
        target, source = folder / name, folder.with_name(f"{folder.name}-whole") / name
        if source.is_dir():
            shutil.rmtree(target)
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    return folder


def _steps(folder: Path) -> int:
    """Steps that the latest process started."""
    return lives(folder / LOG)[-1][-1]["step"] if (folder / LOG).exists() and any(lives(folder / LOG)[-1:]) else 0


def _goes_on(case: Case, known: Known, recipe: Path, wrong: list[str], where: str) -> Verdict:
    """The same command again, to the end."""
    began, folder = time.perf_counter(), recipe.parent
    wrong = wrong + [f"left: {name}" for name in torn(folder)]
    end = Child(recipe).end()
    if end.status != 0:
        tail = (folder / "output.txt").read_text(encoding="utf-8")[-400:]
        return Verdict(case, [*wrong, f"the resumed run ended with {end.status}: {tail}"], where)
    wrong += differences(course_of(folder), known.courses[case.kind])
    if not wrong:
        shutil.rmtree(folder)
    return Verdict(case, wrong, where, time.perf_counter() - began)


def _where(folder: Path) -> str:
    """What a killed run was doing, by its folder."""
    checkpoints, step = folder / "run" / "checkpoints", _steps(folder)
    partial = sorted(path.name for path in checkpoints.glob(".step-*.partial"))
    if partial:
        return f"in a save: {partial[0]}"
    if not step:
        return "before its first step"
    return f"in or after step {step}" if step < STEPS else "in its last step or its report"
