# Every target works as the first command on a machine with Python 3.11 or newer and pip: it makes its own venv.
#   make test PYTHON=python3.13 VENV=.venv313     another Python, beside the first
#   make test PYTEST_ARGS="-k mailbox -x"         arguments for pytest

PYTHON      ?= python3
VENV        ?= .venv
PYTEST_ARGS ?=
SOURCES     := messages actors propolis
# What is formatted and linted besides, where it exists.
LINTED      := $(SOURCES) $(wildcard tests benchmarks examples)
TYPED       := $(SOURCES) $(wildcard tests/typing)
# Where the tests are to be measured (`make test COVERAGE=1`): that takes 1.7 times as long.
COVERAGE     ?=
# Percent, branches included, of the two lower layers.
COVERAGE_MIN ?= 95

BIN     := $(VENV)/bin
RUNTIME := $(VENV)/.stamp-runtime
TEST    := $(VENV)/.stamp-test
DEV     := $(VENV)/.stamp-dev
DESK    := $(VENV)/.stamp-desk

# Tests and the demo start some hundred interpreters: without bytecode each would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo desk test again coverage lint format types bench soak chaos clean
.NOTPARALLEL:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Propolis needs Python 3.11 or newer; say which: make PYTHON=python3.12")'
	$(PYTHON) -m venv --upgrade-deps $(VENV)

# pip compiles on one processor, and nobody what is installed as editable: the first to import it does, in every process
# that starts at once.
installed = $(BIN)/python -m pip install --quiet --no-compile --editable '$(1)'
compiled  = @$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib $(SOURCES) || true

# A stamp is newer than pyproject.toml, or what that file asks for is installed again.
$(RUNTIME): pyproject.toml | $(BIN)/python
	$(call installed,.)
	$(compiled)
	@touch $@

$(TEST): pyproject.toml | $(BIN)/python
	$(call installed,.[test])
	$(compiled)
	@touch $@ $(RUNTIME) $(DESK)

$(DEV): pyproject.toml | $(BIN)/python
	$(call installed,.[dev])
	$(compiled)
	@touch $@ $(TEST) $(RUNTIME) $(DESK)

$(DESK): pyproject.toml | $(BIN)/python
	$(call installed,.[ai,graph])
	$(compiled)
	@touch $@ $(RUNTIME)

install: $(DEV) ## make the venv with everything for development

demo: $(RUNTIME) ## run the demo
	$(BIN)/propolis demo

desk: $(DESK) ## run the support desk of examples/, offline; DESK_ARGS="--model … --base-url …" asks a provider
	$(BIN)/python -m examples.support_desk $(DESK_ARGS)

measured := $(if $(COVERAGE),--cov --cov-append --cov-report=)

test: $(TEST) ## run the tests; with COVERAGE=1 measured, and actors and messages must reach COVERAGE_MIN percent
	@$(if $(COVERAGE),$(BIN)/python -m coverage erase)
	$(BIN)/python -m pytest -n auto --dist worksteal --durations=20 $(measured) $(PYTEST_ARGS) || $(MAKE) --no-print-directory again
	@$(if $(COVERAGE),$(MAKE) --no-print-directory coverage)

again: $(TEST) ## run once more, one by one, what failed in the last run: on a busy machine a test may run out of time
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none -n0 $(measured)

coverage: $(TEST) ## report on the last run that was measured
	$(BIN)/python -m coverage report
	$(BIN)/python -m coverage report --include='actors/*,messages/*' --fail-under=$(COVERAGE_MIN) --format=total

lint: $(DEV) ## ruff: rules and format
	$(BIN)/ruff check $(LINTED)
	$(BIN)/ruff format --check $(LINTED)

format: $(DEV) ## ruff: mend what can be mended
	$(BIN)/ruff check --fix $(LINTED)
	$(BIN)/ruff format $(LINTED)

types: $(DEV) ## mypy (strict) and pyright
	$(BIN)/mypy $(TYPED)
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(DEV) ## run the benchmarks side by side with their peers
	$(BIN)/python -m benchmarks

soak: $(TEST) ## a million executions: memory has to stay flat
	$(BIN)/python -m benchmarks.soak

chaos: $(TEST) ## the tests at full size that try to break it: hostile workers, kills (tests marked `chaos`)
	$(BIN)/python -m pytest -m chaos -s -o faulthandler_timeout=1200 $(PYTEST_ARGS)

clean: ## remove the venv, caches and build results
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find $(LINTED) -type d -name __pycache__ -prune -exec rm -rf {} +
