.DEFAULT_GOAL := help
.PHONY: help setup demo test check format bench bench-scheduler bench-fleet fuzz wheel clean

PY := .venv/bin/python

help: ## Show what there is
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make the virtual environment (.venv) with everything in it
	@scripts/setup

demo: setup ## Start an agent, run the examples, show what happens; Ctrl-C ends it
	@$(PY) scripts/demo.py $(ARGS)

check: setup ## Lint, types, layers
	.venv/bin/ruff check --quiet .
	.venv/bin/ruff format --check --quiet .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache

test: setup check ## Install what the tests need, then run all of them
	@scripts/test-requirements
	$(PY) -m pytest $(TESTS)

format: setup ## Format the sources
	.venv/bin/ruff check --fix --quiet .
	.venv/bin/ruff format --quiet .

bench: setup ## Measure the figures of the README (table, and bench/out/bench.json)
	@$(PY) -m bench.all

bench-scheduler: setup ## Measure the scheduler (QUICK=1: within five minutes)
	@$(PY) -m bench.scheduler $(if $(QUICK),--quick,)

bench-fleet: setup ## Measure fleets over real sockets and container replays (QUICK=1: smaller)
	@$(PY) -m bench.fleet $(if $(QUICK),--quick,)

fuzz: setup ## Fuzz the job language for ten minutes (SECONDS_MAX=600)
	@scripts/fuzz

wheel: setup ## Build the wheel into dist/
	$(PY) -m pip install --quiet build
	$(PY) -m build --wheel

clean: ## Remove what was built
	rm -rf .venv dist build bench/out .mypy_cache .ruff_cache .pytest_cache
