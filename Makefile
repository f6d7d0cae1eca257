# Two commands, each of them alone on a fresh machine with Python 3.11+:
#   make quickstart   on two CPU cores: from weights to an exported model and its report
#   make test         lint, types, documentation and all tests

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SMALL  := $(VENV)/ready-quickstart
READY  := $(VENV)/ready
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

# Images of containers set it; then each of a hundred processes would compile all that it imports, which takes 2 s.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: quickstart test lint install docs screens bench soak attack mutate clients evaluators clusters trackers axe
.DEFAULT_GOAL := test

install: $(READY)

# What the quickstart needs, and the page to try its result; `make test` installs the rest.
$(SMALL): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Eyegraft needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	@echo "Installing into $(VENV): about 3 GB to download, some minutes"
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[quickstart,web]'
	@touch $@

$(READY): $(SMALL)
	$(INSTALL) -e '.[quant,deepspeed,towers,quickstart,emoji,gguf,hub,excel,heic,video,web,ask,docs,dev]'
	@touch $@

quickstart: $(SMALL)
	$(BIN)/eyegraft assets
	$(BIN)/eyegraft train configs/quickstart/pipeline.yaml
	@echo "runs/quickstart/report.json:"
	@cat runs/quickstart/report.json

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# inspect-ai and lm-eval are installed once, in an environment of their own in the user's cache; without, their test is skipped.
test: lint
	$(BIN)/python -m tests.evaluators.environments --optional core
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

# The documentation as a site in build/site, English and Chinese; a fault in it fails (tests/docs holds the same).
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Screenshots of the page for docs/, over the runs that `make quickstart` left.
screens: $(READY)
	$(BIN)/python -m tests.demo.screens
	$(BIN)/python -m tests.demo.service_screens

# axe-core over every view of the service, in both languages, themes and widths; page weight and first paint of each.
# Needs npm once. Minutes.
axe: $(READY)
	$(BIN)/python -m tests.demo.axe

# Against TRL on this machine, about 20 minutes; nothing else should run beside it.
bench: $(READY)
	$(INSTALL) -e '.[bench]'
	$(BIN)/eyegraft assets
	$(BIN)/python -m benchmarks.bench

# Runs that are killed, stopped and damaged, then resumed: docs/benchmarks/survival.md. About 15 minutes on two cores.
soak: $(READY)
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m tests.soak
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m tests.soak.ranks
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m tests.soak.service
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m tests.soak.gangs
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false $(BIN)/pytest tests/soak/chinese_road.py
	$(MAKE) evaluators

# Hostile visitors, folders, files and servers against the page, the API, the training service and the commands:
# SECURITY.md. Fifteen minutes.
attack: $(READY)
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m tests.attack

# Faults planted into the core, one at a time, and whether a test fails for each: docs/benchmarks/mutation.md. About an hour.
mutate: $(READY)
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m tests.mutate

# Clients of others, in an environment of their own, talk to the API: docs/reference/clients.md. Minutes.
CLIENTS := build/clients
clients: $(READY)
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check openai litellm langchain-openai inspect-ai lm-eval transformers
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m tests.clients $(CLIENTS)/bin/python

# Evaluation programs of others, each in an environment of its own in the user's cache, ask a served model and have to score
# what `eyegraft eval` scores, question for question: docs/how-to/runs/other-evaluators.md. Minutes.
evaluators: $(READY)
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m tests.evaluators --out benchmarks/results/evaluators.json

# Every experiment tracker, fed for real and read back, in an environment of their own (SwanLab needs an older protobuf,
# Trackio changes what uvicorn runs on): docs/how-to/runs/track.md. Two minutes. MLflow without its server and page.
TRACKERS := build/trackers
trackers: $(READY)
	$(PYTHON) -m venv $(TRACKERS)
	$(TRACKERS)/bin/python -m pip install --quiet --disable-pip-version-check tensorboard wandb swanlab mlflow-skinny sqlalchemy alembic trackio pytest hypothesis pydantic PyYAML pillow rich
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m tests.trackers $(TRACKERS)/bin/python

# Job files for SkyPilot, Kubeflow and Ray against what these publish, and Ray's on a cluster of this machine. A minute.
CLUSTERS := build/clusters
clusters: $(READY)
	$(PYTHON) -m venv $(CLUSTERS)
	$(CLUSTERS)/bin/python -m pip install --quiet --disable-pip-version-check skypilot kubeflow-trainer-api 'ray[default]'
	$(BIN)/python -m tests.clusters $(CLUSTERS)/bin/python
