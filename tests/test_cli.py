"""The command line: what it prints, how it fails and with which exit code, without loading torch for it."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
import yaml
from typer.core import TyperGroup

from demo.server.limits import Limits, public_limits
from llm.config.schema import RunConfig
from llm.config.validation_messages import _paths
from llm.errors import ConfigError, EyegraftError, Place, RecordError, RunError
from vlm.app import cli
from vlm.app.launch import TrainCommand
from vlm.config import SCHEMAS, EvalConfig, PipelineConfig
from vlm.recipes import find_recipe

RECIPE = "name: small\nmodel: {llm: x}\ndata: {sources: [{path: a.json}]}\n"


@dataclass(frozen=True, slots=True)
class Result:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs `eyegraft` with some arguments inside this process."""

    def call(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["eyegraft", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return call


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Replaces a heavy module by a light one; its functions record their calls and return or raise."""

    def put(name: str, **results: object) -> dict[str, tuple[object, ...]]:
        calls: dict[str, tuple[object, ...]] = {}
        module = ModuleType(name)
        for function, result in results.items():
            setattr(module, function, _recorder(function, result, calls))
        package, _, last = name.rpartition(".")
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(import_module(package), last, module, raising=False)
        return calls

    return put


def _recorder(function: str, result: object, calls: dict[str, tuple[object, ...]]) -> Callable[..., object]:
    def record(*arguments: object) -> object:
        calls[function] = arguments
        if isinstance(result, BaseException):
            raise result
        return result

    return record


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


GROUPS = {
    "Train": "train eval compare plan",
    "Use": "chat serve web export merge",
    "Service": "service jobs",
    "Data": "assets data",
    "Look": "ls cp show validate inspect schema env",
}
DATA_GROUPS = {
    "Look": "check stats show",
    "Make": "convert identity ask",
    "Edit": "split mix repeat rename fill",
}


@pytest.mark.parametrize(("arguments", "groups"), [(["--help"], GROUPS), (["data", "--help"], DATA_GROUPS)])
def test_help_lists_every_command_in_its_group(
    run: Callable[..., Result], arguments: list[str], groups: dict[str, str]
) -> None:
    result = run(*arguments)
    assert result.code == 0
    sections = re.split(r"^(\w+):\n", result.out, flags=re.MULTILINE)[1:]
    listed = dict(zip(sections[::2], sections[1::2], strict=True))
    assert "--help" in listed.pop("Options")
    assert {title: set(re.findall(r"^  ([a-z]+) ", text, re.MULTILINE)) for title, text in listed.items()} == {
        title: set(names.split()) for title, names in groups.items()
    }
    assert "..." not in result.out.partition("Examples:")[0].partition("Options:")[2], "a summary is cut"


def commands() -> list[tuple[str, Any]]:
    """Every command with its full name."""
    root = typer.main.get_command(cli.app)
    assert isinstance(root, TyperGroup)
    groups = {name: group for name, group in root.commands.items() if isinstance(group, TyperGroup)}
    inner = [(f"{name} {one}", command) for name, group in groups.items() for one, command in group.commands.items()]
    return [*root.commands.items(), *inner]


@pytest.mark.parametrize(("name", "command"), commands())
def test_every_command_has_examples_that_parse(name: str, command: Any) -> None:
    lines = [line.strip() for line in command.epilog.splitlines() if line.startswith("  ")]
    assert lines
    for line in lines:
        _, *words = shlex.split(line)
        assert " ".join(words).startswith(name)
        if isinstance(command, TyperGroup):
            continue  # its examples are those of its commands
        arguments = words[len(name.split()) :]
        context = command.make_context(name, list(arguments))
        assert arguments == [] or context.params
        for word in arguments:
            assert not word.startswith("quickstart/") or find_recipe(word)


def test_every_command_and_option_is_explained(run: Callable[..., Result]) -> None:
    for name, command in commands():
        assert command.help, name
        for parameter in command.params:
            assert parameter.help, f"{name}: {parameter.name}"


@pytest.mark.parametrize("module", ["vlm.app", "vlm.app.cli"])
def test_the_command_runs_as_a_module_too(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "ls", "quickstart/finetune"], capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, "next: eyegraft show quickstart/finetune")
    assert done.stdout.startswith("quickstart/finetune ")


@pytest.mark.parametrize("arguments", [("--help",), ("validate", "quickstart/pipeline"), ("schema",), ("ls",)])
def test_light_commands_load_neither_torch_nor_numpy(arguments: tuple[str, ...]) -> None:
    code = (
        "import atexit, sys\n"
        "heavy = {'torch', 'transformers', 'numpy'}\n"
        "atexit.register(lambda: print(heavy & set(sys.modules), file=sys.stderr))\n"
        "from vlm.app.cli import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "set()")
    assert done.stdout


def test_validate_prints_the_resolved_recipe(run: Callable[..., Result], recipe: Path) -> None:
    result = run("validate", str(recipe), "train.batch=4")
    assert result.code == 0
    assert "  batch: 4\n" in result.out
    assert "  pack_tokens: 4096\n" in result.out
    assert yaml.safe_load(result.out)["name"] == "small", "standard output is the recipe alone"


def test_validate_ends_with_a_verdict_and_what_is_missing(
    run: Callable[..., Result], recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(recipe.parent)
    lines = run("validate", "small.yaml", "train.batch=4").err.splitlines()
    assert lines == [
        "model.llm: x: not here; . holds nothing of this name",
        "data.sources.0.path: a.json: not here; . holds nothing of this name",
        "small.yaml: the recipe is valid; of the files that it names, 2 are not here",
        "next: eyegraft plan small.yaml train.batch=4",
        "      eyegraft train small.yaml train.batch=4",
    ]
    assert run("validate", "small.yaml", "--strict").code == 3
    (recipe.parent / "x").mkdir()
    (recipe.parent / "a.json").write_text("[]")
    result = run("validate", "small.yaml", "--strict")
    assert (result.code, result.err.splitlines()[0]) == (
        0,
        "small.yaml: the recipe is valid, and every file that it names is here",
    )


def test_a_faulty_recipe_is_one_message_and_exit_code_two(run: Callable[..., Result], recipe: Path) -> None:
    recipe.write_text(RECIPE + "tarin: {batch: 4}\n")
    result = run("validate", str(recipe))
    assert (result.code, result.out) == (2, "")
    assert result.err == f"error: {recipe}:4: tarin: unknown key; did you mean train?\n"
    assert run("train", str(recipe)) == result


def test_validate_looks_into_every_step_of_a_pipeline(run: Callable[..., Result], recipe: Path) -> None:
    pipeline = recipe.parent / "all.yaml"
    pipeline.write_text("name: all\nsteps: [small.yaml, other.yaml]\n")
    result = run("validate", str(pipeline))
    assert result.code == 2
    assert "other.yaml: no such file or recipe" in result.err
    (recipe.parent / "other.yaml").write_text(RECIPE)
    assert run("validate", str(pipeline)).code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nstage: finetun\n", ":2: stage: found 'finetun'; choose sft, prefer, pretrain, finetune"),
        ("name: a\nmodel: {llm: x, tower: y}\n", ":2: stage: missing; a tower needs `stage: pretrain` or `finetune`"),
        ("name: a\nstage: [eval]\n", ":2: stage: found ['eval']; choose sft"),
        ("name: a\nstage: eval\nrunn: x\n", ":3: runn: unknown key; did you mean run?"),
    ],
)
def test_a_recipes_stage_decides_its_schema(run: Callable[..., Result], recipe: Path, text: str, message: str) -> None:
    recipe.write_text(text)
    result = run("validate", str(recipe))
    assert result.code == 2
    assert message in result.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("a bad recipe"), 2),
        (RecordError(Place("qa.json", 7, "q7"), "image", "found 2", "Give one"), 3),
        (RunError("the folder is in use"), 1),
    ],
)
def test_an_error_while_training_is_one_message_and_its_exit_code(
    run: Callable[..., Result], fake: Callable[..., Any], recipe: Path, error: EyegraftError, code: int
) -> None:
    fake("vlm.plan.dry_run", dry_run=None)
    fake("vlm.app.pipeline", run_step=error)
    assert run("train", str(recipe)) == Result(code, "", f"error: {error}\n")


def test_train_hands_over_the_recipe_and_its_file(
    run: Callable[..., Result], fake: Callable[..., Any], recipe: Path
) -> None:
    fake("vlm.plan.dry_run", dry_run=None)
    calls = fake("vlm.app.pipeline", run_step={})
    assert run("train", str(recipe), "train.batch=4", "optim.lr=1e-3").code == 0
    config, start = calls["run_step"]
    assert isinstance(config, RunConfig)
    assert start == TrainCommand(recipe, ("train.batch=4", "optim.lr=1e-3"))
    assert (config.train.batch, config.optim.lr) == (4, 0.001)


def test_train_passes_nproc_and_deepspeed_on(
    run: Callable[..., Result], fake: Callable[..., Any], recipe: Path
) -> None:
    fake("vlm.plan.dry_run", dry_run=None)
    calls = fake("vlm.app.pipeline", run_step={})
    assert run("train", str(recipe), "--anyway", "--nproc", "2", "--deepspeed", "zero2_offload").code == 0
    config, start = calls["run_step"]
    assert start == TrainCommand(recipe, ("parallel=zero2_offload",), anyway=True, nproc=2)
    assert (config.parallel.zero, config.parallel.offload) == (2, "optimizer")
    assert start.arguments == ["train", str(recipe), "parallel=zero2_offload", "--anyway"]
    told = run("train", str(recipe), "--deepspeed", "zero4").err
    assert "zero4" in told and "zero1, zero2, zero2_offload, zero3, zero3_offload" in told
    assert "'all' needs zero: 3, found zero: 2" in run("train", str(recipe), "parallel={zero: 2, offload: all}").err


def test_train_writes_a_file_for_several_machines(run: Callable[..., Result], recipe: Path) -> None:
    asked = (
        "train",
        str(recipe),
        "data.system=You are 'kind'.",
        "--nproc",
        "4",
        "--nodes",
        "3",
        "--deepspeed",
        "zero3",
    )
    command = f"--no-python eyegraft train {recipe} \"data.system=You are 'kind'.\" parallel=zero3"
    slurm = run(*asked, "--render", "slurm").out
    assert slurm.startswith("#!/bin/bash\n") and "#SBATCH --nodes=3\n" in slurm
    assert subprocess.run(["bash", "-n"], input=slurm, text=True).returncode == 0
    sky = yaml.safe_load(run(*asked, "--render", "sky").out)
    assert (sky["num_nodes"], sky["resources"]["accelerators"]) == (3, "A100:4")
    for script in (slurm, sky["run"]):
        words = shlex.split(script.replace("\\\n", " ").splitlines()[-1])
        assert words[words.index("--no-python") :] == shlex.split(command)
    assert run("train", str(recipe), "--render", "k8s") == Result(
        2, "", "error: --render k8s: choose slurm, sky, kubeflow or ray\n"
    )


def test_train_runs_a_pipeline_by_its_file(run: Callable[..., Result], fake: Callable[..., Any]) -> None:
    fake("vlm.plan.dry_run", dry_run=None)
    calls = fake("vlm.app.pipeline", run_step={})
    assert run("train", "quickstart/pipeline").code == 0
    config, start = calls["run_step"]
    assert isinstance(config, PipelineConfig)
    assert start.recipe.name == "pipeline.yaml"


def test_a_dry_run_trains_nothing(run: Callable[..., Result], fake: Callable[..., Any], recipe: Path) -> None:
    explained = fake("vlm.plan.dry_run", dry_run=None)
    trained = fake("vlm.app.pipeline", run_step={})
    assert run("train", str(recipe), "--dry-run").code == 0
    assert isinstance(explained["dry_run"][0], RunConfig)
    assert explained["dry_run"][1] == recipe
    assert trained == {}


def test_plan_hands_over_the_recipe_and_its_device(
    run: Callable[..., Result], fake: Callable[..., Any], recipe: Path
) -> None:
    calls = fake("vlm.plan.plan", plan=None)
    assert run("plan", str(recipe), "train.batch=4", "--device", "8GiB", "--tflops", "90").code == 0
    config, path, device, tflops, targets = calls["plan"]
    assert isinstance(config, RunConfig) and config.train.batch == 4
    assert (path, device, tflops, targets) == (recipe, "8GiB", 90.0, 1.0)


def test_eval_takes_a_recipe_or_a_run_with_questions(
    run: Callable[..., Result], fake: Callable[..., Any], recipe: Path
) -> None:
    calls = fake("vlm.evaluate.run_eval", evaluate={})
    recipe.write_text("name: e\nstage: eval\nrun: runs/x\n")
    assert run("eval", str(recipe), "run=runs/y").code == 0
    assert calls["evaluate"] == (EvalConfig(name="e", stage="eval", run="runs/y"),)
    assert run("eval", "runs/z", "--data", "q/test.json", "--images", "pics", "--limit", "5").code == 0
    (config,) = calls["evaluate"]
    assert isinstance(config, EvalConfig)
    assert config.vqa is not None
    assert (config.run, config.out, config.checkpoint) == ("runs/z", "runs/z/eval-test", "latest")
    assert (config.vqa.source.path, config.vqa.source.images, config.vqa.limit) == ("q/test.json", "pics", 5)


def test_eval_of_a_training_recipe_is_refused(run: Callable[..., Result], recipe: Path) -> None:
    result = run("eval", str(recipe))
    assert result.code == 2
    assert "found stage sft; name a recipe with `stage: eval`, or add --on FILE" in result.err


def test_chat_passes_every_option(run: Callable[..., Result], fake: Callable[..., Any]) -> None:
    from llm.chat.sampling import Sampling

    calls = fake("vlm.app.chat", chat_terminal=None)
    knobs = ["--temperature", "0.7", "--top-k", "5", "--top-p", "0.9", "--repetition-penalty", "1.1"]
    more = ["--max-new-tokens", "9", "--seed", "3", "--stop", "A", "--stop", "B", "--no-stream", "--system", "Be brief"]
    assert run("chat", "runs/x", "--image", "a.png", "--image", "b.png", *knobs, *more).code == 0
    sampling = Sampling(0.7, 5, 0.9, 1.1, 9, 3, ("A", "B"))
    assert calls["chat_terminal"] == ("runs/x", "latest", ("a.png", "b.png"), "Be brief", sampling, False, "", 0)
    assert run("chat", "runs/x").code == 0
    assert calls["chat_terminal"] == ("runs/x", "latest", (), "", Sampling(), True, "", 0)
    assert run("chat", "out", "--adapter", "lora", "--bits", "8").code == 0
    assert calls["chat_terminal"] == ("out", "latest", (), "", Sampling(), True, "lora", 8)
    assert run("chat", "out", "--bits", "5") == Result(2, "", "error: --bits 5: choose 4 or 8, or leave it out\n")


def test_serve_passes_its_options(
    run: Callable[..., Result], fake: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fake("demo.api.serve", serve=None)
    assert run("serve", "runs/x", "b=out", "--port", "9", "--token", "t", "--host", "0.0.0.0", "--public").code == 0
    assert calls["serve"] == (
        ["runs/x", "b=out"],
        "latest",
        "0.0.0.0",
        9,
        True,
        "t",
        "",
        public_limits(Limits()),
        [],
        "",
        0,
    )
    monkeypatch.setenv("EYEGRAFT_TOKEN", "from the environment")
    assert run("serve", "runs/x").code == 0
    local = ("127.0.0.1", 8000, False, "from the environment", "")
    assert calls["serve"] == (["runs/x"], "latest", *local, Limits(), [], "", 0)
    assert run("serve", "out", "--adapter", "lora", "--bits", "4", "--together", "3").code == 0
    assert calls["serve"][-4:] == (replace(Limits(), together=3), [], "lora", 4)
    assert run("serve", "out", "--bits", "3") == Result(2, "", "error: --bits 3: choose 4 or 8, or leave it out\n")


def test_web_passes_its_options(run: Callable[..., Result], fake: Callable[..., Any]) -> None:
    calls = fake("demo.web.web", web=None)
    options = ["--root", "r", "--data", "a.json", "--data", "b.json", "--port", "9", "--name", "n"]
    assert run("web", "runs/x", *options).code == 0
    assert calls["web"] == (["runs/x"], Path("r"), ["a.json", "b.json"], "127.0.0.1", 9, False, "", "n", Limits(), [])
    assert run("web").code == 0
    assert calls["web"] == ([], Path("runs"), [], "127.0.0.1", 7860, False, "", "", Limits(), [])


def test_merge_passes_its_options(run: Callable[..., Result], fake: Callable[..., Any]) -> None:
    calls = fake("vlm.export.merge", merge=1e-6)
    assert run("merge", "org/base", "lora", "out", "--dtype", "fp32", "--shard", "1GB") == Result(0, "", "")
    assert calls["merge"] == ("org/base", Path("lora"), Path("out"), "fp32", "1GB", False)
    assert run("merge", "org/base", "lora", "out", "--replace").code == 0
    assert calls["merge"] == ("org/base", Path("lora"), Path("out"), "bf16", "5GB", True)


def test_export_passes_its_options(run: Callable[..., Result], fake: Callable[..., Any]) -> None:
    calls = fake("vlm.export.run", export=1.25e-6)
    result = run("export", "runs/x", "out", "--dtype", "bf16", "--checkpoint", "step-000005")
    assert result.code == 0
    assert calls["export"] == (Path("runs/x"), Path("out"), "bf16", "step-000005", "hf", False, False, "")
    assert run("export", "runs/x", "out", "--to", "peft", "--replace").code == 0
    assert calls["export"] == (Path("runs/x"), Path("out"), "fp32", "latest", "peft", False, True, "")
    assert run("export", "runs/x", "out", "--to", "gguf", "--dtype", "q8_0", "--force").code == 0
    assert calls["export"] == (Path("runs/x"), Path("out"), "q8_0", "latest", "gguf", True, False, "")
    assert run("export", "runs/x", "out", "--to", "peft", "--base-name", "org/base").code == 0
    assert calls["export"][-1] == "org/base"
    assert run("export", "runs/x", "out", "--dtype", "fp16").code == 2


def test_recipes_are_listed_shown_and_copied(run: Callable[..., Result], tmp_path: Path) -> None:
    listed = run("ls", "*vicuna*_pretrain")
    assert listed.out.startswith("llava/llava_vicuna_7b_v1_5_clip_vit_large_p14_336_pretrain  LLaVA-1.5 stage 1")
    name = listed.out.split()[0]
    copied = run("cp", name, str(tmp_path / "mine.yaml"))
    assert (copied.code, copied.out) == (0, f"{tmp_path / 'mine.yaml'}\n")
    assert copied.err.startswith(f"next: eyegraft validate {tmp_path / 'mine.yaml'}\n")
    assert f"next: eyegraft show {name}\n" in listed.err
    assert run("show", name).out == (tmp_path / "mine.yaml").read_text()
    assert run("cp", name, str(tmp_path / "mine.yaml")).code == 2
    assert run("ls", "xyzzy") == Result(2, "", "error: xyzzy: no recipe's name matches; `eyegraft ls` lists them all\n")


def test_schema_is_that_of_the_stage(run: Callable[..., Result]) -> None:
    both = json.loads(run("schema", "finetune").out)
    assert [one["$ref"] for one in both["anyOf"]] == ["#/$defs/VlmRunConfig", "#/$defs/ReadyRunConfig"]
    assert "vlm" in both["$defs"]["ReadyModelConfig"]["properties"]
    finetune = both["$defs"]["VlmRunConfig"]
    assert {"from", "tune", "model"} <= finetune["properties"].keys()
    assert finetune["additionalProperties"] is False
    assert finetune["properties"]["stage"]["enum"] == ["pretrain", "finetune"]
    assert len(json.loads(run("schema").out)["anyOf"]) == 8
    result = run("schema", "finetun")
    assert (result.code, result.err.split("; ")[-1]) == (2, "did you mean finetune?\n")


def test_the_schema_asks_for_a_model_or_a_run_to_start_from(run: Callable[..., Result]) -> None:
    start = {"required": ["from"], "properties": {"from": {"minLength": 1}}}
    for stage, keys in (("sft", ["llm"]), ("pretrain", ["llm", "tower"])):
        schema = json.loads(run("schema", stage).out)
        own = {"required": ["model"], "properties": {"model": {"required": keys}}}
        assert schema["anyOf"] == [own, start] and "model" not in schema["required"] and "name" in schema["required"]
    every = json.loads(run("schema").out)["$defs"]
    assert start in every["TextRunConfig"]["anyOf"] and start in every["VlmRunConfig"]["anyOf"]


def test_env_names_what_is_there_and_what_would_bring_the_rest(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlm.app.environment.OPTIONAL", {"bitsandbytes": "quant", "no-such-package": "web"})
    lines = dict(line.split(maxsplit=1) for line in run("env").out.splitlines())
    assert lines["python"] == ".".join(map(str, sys.version_info[:3]))
    assert lines["torch"][0].isdigit()
    assert lines["bitsandbytes"][0].isdigit()
    assert lines["no-such-package"] == "absent; pip install 'eyegraft[web]'"
    assert {"platform", "cores", "cpu"} <= lines.keys()
    assert re.match(r"auto +(bf16|fp32): \w", lines["train.dtype:"])


def test_assets_are_fetched_into_the_folder(run: Callable[..., Result], fake: Callable[..., Any]) -> None:
    calls = fake("data_tools.quickstart.assets", fetch_assets=None)
    assert run("assets", "--folder", "cache", "lite0").code == 0
    assert calls["fetch_assets"] == (Path("cache"), ["lite0"])
    assert run("assets").code == 0
    assert calls["fetch_assets"] == (Path("assets"), ())


def test_identity_data_is_made_and_renamed(run: Callable[..., Result], tmp_path: Path) -> None:
    made = run("data", "identity", str(tmp_path), "--name", "Kestrel", "--author", "Ana")
    assert (made.code, made.err) == (0, "")
    assert made.out.startswith(f"{tmp_path / 'train.json'}: ")
    before = (tmp_path / "train.json").read_text()
    renamed = run("data", "rename", "Kestrel", "Osprey", str(tmp_path / "train.json"), str(tmp_path / "new.json"))
    assert (renamed.code, renamed.err) == (0, "")
    after = (tmp_path / "new.json").read_text()
    assert "Kestrel" in before
    assert "Kestrel" not in after
    assert f"new.json: {after.count('Osprey')} replaced in " in renamed.out


def test_version(run: Callable[..., Result]) -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    assert run("--version") == Result(0, f"eyegraft {project['version']}\n", "")


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        ("list-cfg", "`eyegraft ls`"),
        ("list_cfg -p llava", "`eyegraft ls`"),
        ("copy-cfg a b", "`eyegraft cp NAME my.yaml`"),
        ("convert pth_to_hf a.py b.pth out", "`eyegraft export RUN DIR`"),
        ("convert merge a b c", "`eyegraft merge BASE ADAPTER DIR`"),
        ("sft --model x --dataset y", "`eyegraft train FILE`"),
        ("swift sft", "`eyegraft train FILE`"),
        ("infer", "`eyegraft chat RUN`"),
        ("deploy", "`eyegraft serve RUN`"),
        ("webui", "`eyegraft web`"),
        ("llamafactory-cli webchat x", "`eyegraft web`"),
        ("llamafactory-cli train x.yaml", "eyegraft train x.yaml"),
        ("xtuner", "eyegraft train FILE"),
        ("dpo", "no counterpart"),
        ("version", "`eyegraft --version`"),
        ("train a.yaml --work-dir w", "here: out=VALUE"),
        ("train a.yaml --learning_rate=1e-4", "here: optim.lr=VALUE"),
        ("train a.yaml --resume", "not needed: the same command resumes"),
        ("train a.yaml --lora-rank 8", "here: tune.rank=VALUE"),
        ("train a.yaml --nproc_per_node 8", "here: --nproc N"),
        ("export runs/a out --adapter x", "here: `eyegraft merge BASE ADAPTER DIR` writes an adapter and its model"),
        ("export --adapter_name_or_path=x --export_dir y", "here: `eyegraft merge BASE ADAPTER DIR`"),
        ("export --export-dir y", "here: `eyegraft export RUN DIR`, without an option"),
        ("train a.yaml --train.batch=8", "written without dashes: train.batch=8"),
        ("validate a.yaml --optim.lr 1", "written without dashes: optim.lr=VALUE"),
        ("plan a.yaml --lora_rank 8", "here: tune.rank=VALUE"),
    ],
)
def test_commands_and_options_of_other_trainers_are_answered(run: Callable[..., Result], words: str, ours: str) -> None:
    result = run(*words.split())
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: ") and ours in result.err and result.err.count("\n") == 1


def test_every_answer_names_a_command_that_exists(run: Callable[..., Result]) -> None:
    from llm.config.other_keys import OTHER_KEYS
    from vlm.app.other_tools import COMMANDS, EXPORT_OPTIONS

    ours = [name for name, _ in commands()]
    answers = [*(answer.ours for answer in COMMANDS.values()), *EXPORT_OPTIONS.values()]
    named = [word for answer in answers for word in re.findall(r"`eyegraft ([^`]*)`", answer)]
    assert len(named) > 20
    for words in named:
        assert words.startswith(("--", *ours)), words
    assert not set(COMMANDS) & set(ours), "a command of ours is never refused"
    keys = {name for kind in SCHEMAS.values() for name in _paths(kind)}
    for key in OTHER_KEYS.values():
        path = re.match(r"[a-z_0-9.]+", key)
        assert key.startswith(("not needed", "--nproc", "KEY=", "the recipe")) or (path and path[0] in keys), key
    assert not set(OTHER_KEYS) & {path.split(".")[-1] for path in keys}, "a key of ours is never taken for another's"


def test_a_recipe_of_another_trainer_is_answered_key_by_key(run: Callable[..., Result], tmp_path: Path) -> None:
    recipe = tmp_path / "factory.yaml"
    recipe.write_text("model_name_or_path: q\nstage: sft\nlora_rank: 8\ntrain: {per_device_train_batch_size: 1}\n")
    told = run("validate", str(recipe)).err
    assert f"{recipe}:1: model_name_or_path: unknown key, a setting of another trainer; here: model.llm\n" in told
    assert f"{recipe}:3: lora_rank: unknown key, a setting of another trainer; here: tune.rank\n" in told
    assert "train.per_device_train_batch_size: unknown key, a setting of another trainer; here: train.batch" in told


@pytest.mark.parametrize("name", ["deepspeed_zero2", "zero2"])
def test_xtuners_names_of_deepspeed_are_read(
    run: Callable[..., Result], fake: Callable[..., Any], recipe: Path, name: str
) -> None:
    calls = fake("vlm.app.pipeline", run_step={})
    assert run("train", str(recipe), "--deepspeed", name).code == 0
    assert calls["run_step"][0].parallel.zero == 2
    for wrong in ("ds_z2_config.json", "zero_stage2"):
        assert "did you mean zero2?" in run("train", str(recipe), "--deepspeed", wrong).err


def test_a_stopped_command_is_no_error(run: Callable[..., Result], fake: Callable[..., Any], recipe: Path) -> None:
    fake("vlm.app.pipeline", run_step=KeyboardInterrupt())
    result = run("train", str(recipe))
    assert (result.code, result.out) == (130, "")
    assert result.err.startswith("stopped. The same command goes on from the last checkpoint")
    fake("vlm.plan.plan", plan=KeyboardInterrupt())
    assert run("plan", str(recipe)) == Result(130, "", "stopped. The same command starts again\n")


def test_training_ends_with_the_run_and_the_next_commands(
    run: Callable[..., Result], fake: Callable[..., Any], recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake("vlm.app.pipeline", run_step={})
    folder = recipe.parent / "my runs" / "a"
    folder.mkdir(parents=True)
    report = {"steps": 8, "final_loss": 1.23456, "train_seconds": 90.0}
    (folder / "report.json").write_text(json.dumps(report))
    result = run("train", str(recipe), f"out={folder}")
    assert result.out.splitlines() == [
        f"{folder}: 8 steps, final loss 1.235, 1.5 minutes of training; report.json, loss.png, checkpoints/",
        f"next: eyegraft chat '{folder}'",
        f"      eyegraft export '{folder}' DIR",
    ]
    assert run("train", str(recipe), f"out={folder}", "--nproc", "2").out == "", "its first process has said it"
    monkeypatch.setenv("RANK", "1")
    assert run("train", str(recipe), f"out={folder}").out == ""


def test_a_wrong_command_line_is_exit_code_two(run: Callable[..., Result]) -> None:
    assert run("trian").code == 2
    assert run("train").code == 2
    assert run("chat", "runs/x", "--top-p", "2").code == 2
