# One command per chore, the same by hand and in CI.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
FOLDER ?= demo
TRIALS ?= 12
PICTURE_TRIALS ?= 40

.PHONY: help demo pictures test test-slow test-cheats test-agents check docs clean

help:            ## list the chores
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/: .*##/ \t/' | expand -t 14

demo: $(VENV)/.demo      ## install, then watch experiments on a small GPT (about seven minutes, no GPU)
	$(BIN)/autoresearch demo --folder $(FOLDER) --trials $(TRIALS)

pictures: $(VENV)/.demo  ## make the README's picture from a real demo in a temporary folder (an hour of CPU)
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(BIN)/autoresearch demo --folder "$$folder/demo" --trials $(PICTURE_TRIALS) && \
	cp "$$folder/demo/progress.png" docs/img/progress.png && \
	echo "Wrote docs/img/progress.png from $(PICTURE_TRIALS) trials; look at it before you commit it."

test: $(VENV)/.dev       ## install, then run the everyday tests
	$(BIN)/python -m pytest -n 2 --durations=15

test-slow: $(VENV)/.dev  ## the tests that take minutes
	$(BIN)/python -m pytest -n 2 --durations=25 -m slow

test-cheats: $(VENV)/.dev  ## candidates that cheat, and what becomes of them (two minutes)
	$(BIN)/python -m pytest -n 2 -m cheats tests/cheats

test-agents: $(VENV)/.dev  ## real coding agents, installed outside the repository (five minutes)
	$(BIN)/python -m pytest -n 2 -m agents tests/agents

check: $(VENV)/.dev      ## format, lint, types, generated docs
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/python docs/make_cli.py --check

docs: $(VENV)/.dev       ## write docs/cli.md from the commands
	$(BIN)/python docs/make_cli.py

clean:           ## remove what the chores made, but no study
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[train,report,optuna]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.demo
