# Two commands, each of them alone on a fresh machine with Python 3.11+:
#   make quickstart   on two CPU cores: from weights to an exported model and its report
#   make test         lint, types, documentation and all tests

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SMALL  := $(VENV)/ready-quickstart
READY  := $(VENV)/ready
STARTED := torch transformers peft bitsandbytes accelerate deepspeed sympy numpy pydantic
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

.PHONY: quickstart test lint install docs screens bench soak attack mutate
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
	$(INSTALL) -e '.[quant,deepspeed,towers,quickstart,gguf,hub,web,ask,docs,dev]'
	@# Tests start some sixty processes; where PYTHONDONTWRITEBYTECODE is set each would compile these again.
	$(BIN)/python -m compileall -q -j 0 $(addprefix $(VENV)/lib/python3.*/site-packages/,$(STARTED)) > /dev/null || true
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

test: lint
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

# The documentation as a site in build/site, English and Chinese; a fault in it fails (tests/docs holds the same).
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Screenshots of the page for docs/, over the runs that `make quickstart` left.
screens: $(READY)
	$(BIN)/python -m tests.demo.screens

# Against TRL on this machine, about 20 minutes; nothing else should run beside it.
bench: $(READY)
	$(INSTALL) -e '.[bench]'
	$(BIN)/eyegraft assets
	$(BIN)/python -m benchmarks.bench

# Runs that are killed, stopped and damaged, then resumed: docs/benchmarks/survival.md. About 15 minutes on two cores.
soak: $(READY)
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m tests.soak
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m tests.soak.ranks

# Hostile visitors, folders, files and servers against the page, the API and the commands: SECURITY.md. Ten minutes.
attack: $(READY)
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m tests.attack

# Faults planted into the core, one at a time, and whether a test fails for each: docs/benchmarks/mutation.md. About an hour.
mutate: $(READY)
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m tests.mutate
