# The two commands a newcomer needs are `make demo` and `make test`; both prepare .venv by themselves.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
CODE := registry tokenmanager auth wms cli tests tools
SOURCES := registry/src tokenmanager/src auth/src wms/src cli/src
# A variable is "on" unless it is empty, 0 or no:  make demo ONCE=1
on = $(filter-out 0 no,$(1))

.PHONY: help
help: ## this list
	@echo "Gatehouse: the gate of a grid. Usage: make TARGET"
	@echo
	@sed -n 's/^\([a-z][a-z]*\):.*## /  \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14
	@echo
	@echo "  PYTHON=python3.12 chooses the interpreter that .venv is made with."

.PHONY: venv
venv: ## create or repair .venv from the hashed lock (the others do it when needed)
	@PYTHON='$(PYTHON)' tools/prepare

.PHONY: demo
demo: venv ## service, demo identity provider, a login and a job, on loopback (ONCE=1: end by itself)
	@$(BIN)/gatehouse demo $(if $(call on,$(ONCE)),--once) $(ARGS)

.PHONY: test
test: venv ## the test suite, two processes (ARGS="-k login" selects)
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

.PHONY: bench
bench: venv ## cost of the hot requests, as a ratio to a bare hello (JSON=1, ROWS=hello,userinfo)
	@$(BIN)/python -m tests.bench $(if $(call on,$(JSON)),--json) $(if $(ROWS),--rows '$(ROWS)') $(ARGS)

.PHONY: lint
lint: venv ## ruff: rules and formatting
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)

.PHONY: types
types: venv ## mypy, strict, over code and tests
	@$(BIN)/mypy $(SOURCES) tests tools

.PHONY: contracts
contracts: venv ## which room may import which
	@$(BIN)/lint-imports

.PHONY: docs
docs: venv ## write docs/reference/ from the settings, commands and routes
	@$(BIN)/python -m tools.reference

.PHONY: lock
lock: venv ## write requirements/*.txt from pyproject.toml (UPGRADE=1: newest versions)
	@BIN=$(BIN) UPGRADE='$(call on,$(UPGRADE))' tools/lock
