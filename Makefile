# Populace: one line per habit. Everything lands in .venv (or VENV) and in .populace (or POPULACE_HOME).

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: run test test-slow up check format docs bench doctor clean help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(VENV)/.run: pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (three to five minutes the first time) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -e ".[demo,kernels]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	@echo "Setting up $(VENV) with the tools for tests (three to five minutes the first time) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -e ".[demo,kernels,dev]"
	@touch $@ $(VENV)/.run

$(VENV)/.bench: $(VENV)/.run
	@$(PIP) -e ".[demo,kernels,bench]"
	@touch $@

# Peers that cannot share our environment (docs/adr/0007) get one of their own.
.venv-peers/.done: Makefile
	@test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/pip install --quiet --disable-pip-version-check balance==0.23.0
	@touch $@

run: $(VENV)/.run ## set up, then the whole lineage with the laptop recipe; what is fresh is used again
	@$(BIN)/populace run

test: $(VENV)/.dev ## the quick tests
	$(BIN)/pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(VENV)/.dev ## the tests that `make test` leaves out: whole runs, pages, reruns
	$(BIN)/pytest -m slow -n 2 --dist loadfile

up: $(VENV)/.run ## Dagster on 3000 and MLflow on 5000, loopback only
	@$(BIN)/populace up

check: $(VENV)/.dev ## ruff, pyright, import-linter
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(VENV)/.dev ## ruff, writing
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.run ## write the reference pages of tables and benchmarks from contracts and stored results
	$(BIN)/python -m validation.contracts.reference > docs/reference/tables.md
	$(BIN)/python -m benchmarks.results > docs/reference/benchmarks.md

bench: $(VENV)/.bench .venv-peers/.done ## ratios against peers and the machine's floor, side by side in one run
	$(BIN)/python -m benchmarks

doctor: $(VENV)/.run ## which Python, device, data, teacher and stores are in use
	@$(BIN)/populace doctor

clean: ## remove the environment and all state
	rm -rf $(VENV) .venv-peers .populace .pytest_cache .ruff_cache .hypothesis .import_linter_cache
