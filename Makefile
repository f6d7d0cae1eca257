# Two commands, each of them alone on a fresh machine with Python 3.11+:
#   make quickstart   the whole road on two CPU cores, from weights to an exported model and its report
#   make test         lint, types and the whole test suite

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready
# One set of extras for both commands: what either needs is installed once.
EXTRAS := quant,towers,quickstart,hub,serve,dev

.PHONY: quickstart test lint install
.DEFAULT_GOAL := test

install: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Eyegraft needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	@echo "Installing into $(VENV): about 3 GB to download, some minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

quickstart: $(READY)
	$(BIN)/eyegraft assets
	$(BIN)/eyegraft train configs/quickstart/pipeline.yaml
	@echo "runs/quickstart/report.json:"
	@cat runs/quickstart/report.json

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: lint
	$(BIN)/pytest -n 2 --dist loadfile
