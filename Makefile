# One word for each thing a developer does. `make` lists them.

PYTHON ?= python3
unexport PYTHONDONTWRITEBYTECODE  # or each of some hundred processes compiles all of it again
BIN := .venv/bin
SEED ?= 1
RUNS ?= 1000
MINUTES ?= 60

.DEFAULT_GOAL := help
.PHONY: help setup format check test e2e lab chaos demo bench docs release deb clean

help: ## list these words
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: .venv/ready ## a virtual environment with locked versions, in .venv

.venv/ready: pyproject.toml requirements.lock
	@PYTHON="$(PYTHON)" sh tools/setup.sh

format: setup ## lay the code out
	@$(BIN)/ruff format -q .
	@$(BIN)/ruff check -q --fix .

check: setup ## format, lint, types, arrows, sizes, unit, contract; some 90 s
	@$(BIN)/ruff format -q --check .
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal tests/unit tests/contract

test: check e2e ## check, then integration and the whole thing, for real

e2e: setup
	@sh tools/packages.sh
	@$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "not timed" tests/integration tests/e2e
	@$(BIN)/python -m pytest -q -m timed tests/integration tests/e2e

lab: setup ## real OpenStack services (Keystone, Neutron, Nova, Barbican, Swift), installed first, and the tests that ask them
	@$(BIN)/python -m tests.openstack.environments
	@$(BIN)/python -m pytest -q tests/openstack

chaos: setup ## many runs of a simulated world full of faults: SEED=1 RUNS=1000 MINUTES=60
	@$(BIN)/python -m tests.chaos --seed $(SEED) --runs $(RUNS) --minutes $(MINUTES)

demo: setup ## a load balancer on this machine in a minute, with things breaking
	@$(BIN)/colonnade demo

bench: setup ## numbers: latency, gaps, memory (JSON in bench/results); PARTS=... for some parts
	@$(BIN)/python -m bench $(PARTS)

docs: setup ## the map of the code and the tables, made from the code
	@$(BIN)/python -m tools.tables

release: setup ## changelog closed, wheel and sdist in dist/, tried in an empty environment
	@$(BIN)/python -m tools.release

deb: setup ## a package for Debian and its kin in dist/, tried on a machine of namespaces
	@$(BIN)/python -m tools.deb
	@$(BIN)/python -m pytest -q tests/debian

clean: ## remove what `make` made
	@rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
