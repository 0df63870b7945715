# casetrail's front door: `make` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
export PIP_DISABLE_PIP_VERSION_CHECK := 1

VENV := .venv
BIN := $(VENV)/bin
# Written when the environment holds the locked packages; a changed lock file or project file renews it.
INSTALLED := $(VENV)/.installed
# dagster-dbt looks for the dbt command on the PATH.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help install demo test test-slow test-exhaustive chromium lint format lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## create .venv with exactly the locked packages

$(INSTALLED): requirements/dev.lock pyproject.toml
	@scripts/install $(VENV)
	@touch $@

demo: install ## start casetrail with a sample company and open its log in Dagster (ONCE=1: run it through and stop)
	@$(BIN)/casetrail demo $(if $(ONCE),--once)

test: install ## run the quick tests
	@$(BIN)/pytest -q -m "not slow" -n 2 --dist loadfile --timeout 300

test-slow: install chromium ## run the slow tests: whole refreshes, crashes, the Dagster UI in a browser
	@$(BIN)/pytest -q -m "slow and not exhaustive" -n 2 --dist loadfile --no-loadscope-reorder --timeout 300 --durations 25

test-exhaustive: install ## run what the slow tests leave out: every real log through every path
	@$(BIN)/pytest -q -m exhaustive -n 2 --timeout 300 --durations 25

chromium:
	@scripts/install-chromium

lint: install ## check style, types, imports, SQL and the Dockerfile
	@scripts/lint

format: install ## put the Python files into the house's format
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

lock: ## resolve pyproject.toml anew into requirements/*.lock (UPGRADE=1: to the newest versions)
	@scripts/lock $(if $(UPGRADE),--upgrade)

clean: ## remove caches and build output (not .venv, not the data in .casetrail)
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build ./*.egg-info
	@rm -rf dbt_project/target dbt_project/logs logs
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
