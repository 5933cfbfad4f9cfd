# `make demo` and `make test` are all a newcomer needs; each sets up what it needs first.
# PYTHON=/path/to/python3.12 chooses the Python to set up with; ARGS=... is passed on.

BIN := .venv/bin
CODE := $(wildcard policies sim world_models vla_ros scripts benchmarks)

# Left over in the environment, it would keep another .venv's ROS libraries on the path.
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-tools lint format constraints clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "make %-12s %s\n", $$1, $$2}'

setup: ## make or check .venv (Python 3.12, pinned packages, off-screen rendering)
	@sh scripts/setup.sh

demo: setup ## watch the arm follow instructions; writes outputs/demo/
	@$(BIN)/vla-ros demo $(ARGS)

test: lint ## lint, then every test
	@$(BIN)/python -m pytest $(ARGS)

test-fast: setup ## the tests that take seconds
	@$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-tools: setup ## a browser, Ray, LIBERO, ...: what a few tests are skipped without
	@sh scripts/test_tools.sh

lint: setup ## ruff (rules and format) and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy $(CODE)

format: setup ## let ruff format the code and mend what it safely can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

constraints: ## write constraints.txt anew from what .venv has
	@$(BIN)/python scripts/constraints.py

clean: ## remove .venv and what tools left behind; outputs/ stays
	rm -rf .venv build install log dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
