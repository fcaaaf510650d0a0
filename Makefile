# Everything runs in .venv, made from requirements.lock (hashes, no addresses). Two commands are enough to
# start: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
UV_VERSION := 0.13.9

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format bench audit lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

# The stamp makes the environment anew only when what it is made of changes.
.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Propensity needs Python 3.11 or later; $(PYTHON) is older. Name another: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@echo "Installing the dependencies from requirements.lock ..."
	@VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode requirements.lock
	@VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

install: .venv/.installed ## Make .venv with everything in it

demo: .venv/.installed ## Run the main job on a real purchase log, end to end
	@$(BIN)/propensity demo

# Bytecode is kept, whatever the environment says: else each of hundreds of processes compiles everything anew.
test: .venv/.installed ## Run all tests
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

lint: .venv/.installed ## Check style, types and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: .venv/.installed ## Put the code in its one format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: .venv/.installed ## Print the figures, each against a named peer in the same run
	@$(BIN)/python -m benchmarks

audit: .venv/.installed ## Look for known vulnerabilities of what is installed
	@$(BIN)/python -m benchmarks.audit

lock: .venv/.installed ## Resolve requirements.lock anew from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes \
		--no-header pyproject.toml --output-file requirements.lock

clean: ## Remove the environment and all state of the demo
	@rm -rf .venv .propensity
