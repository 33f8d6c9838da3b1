# Each verb does one thing. Needed: git, make, and Python 3.11 or newer with venv (Debian: python3, python3-venv).
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP     = $(BIN)/pip --disable-pip-version-check install --quiet
# More arguments for the command behind a verb: make test ARGS="-k broker", make lock ARGS=--upgrade
ARGS   ?=
# Of make chaos: how many faults strike under each strategy; a plan that was printed; one strategy instead of all four
FAULTS   ?= 50
SEED     ?=
STRATEGY ?=

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo up test chaos bench-core bench-lookups lint lock image-test clean

help:  ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

install: $(VENV)/.installed  ## the command `metroline`, in .venv
install-dev: $(VENV)/.installed-dev  ## and what tests, lint and the line `flights` need

# Made once: another Python over an existing .venv would mix the two (`make clean` first).
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 install" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.installed: requirements.txt pyproject.toml | $(BIN)/pip
	@echo "installing into $(VENV) (the first time takes a minute or so)"
	@$(PIP) --require-hashes -r requirements.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	@echo "installing what tests and lint need into $(VENV)"
	@$(PIP) --require-hashes --no-build-isolation --use-pep517 -r requirements-dev.txt
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed requirements-bench.txt
	@echo "installing what benchmarks need into $(VENV)"
	@$(PIP) --require-hashes --no-build-isolation --use-pep517 -r requirements-bench.txt
	@touch $@

demo: install  ## the four strategies side by side on the example line
	@$(BIN)/metroline demo $(ARGS)

up: install  ## a live line on this machine, until Ctrl-C
	@$(BIN)/metroline up $(ARGS)

test: install-dev  ## all tests; those on Apache Kafka need Java 17 and Maven
	@$(BIN)/pytest --numprocesses 2 --dist loadfile $(ARGS)

chaos: install-dev  ## kills, freezes and stops what runs while records flow, on Apache Kafka: FAULTS=50 SEED=7 STRATEGY=signpost
	@FAULTS=$(FAULTS) SEED=$(SEED) STRATEGY=$(STRATEGY) $(BIN)/pytest -s tests/chaos $(ARGS)

bench-core: install-dev  ## what the routing core costs a record, against orjson and CEL alone; it fails where a target is missed
	@$(BIN)/python -m benchmarks.core $(ARGS)

lint: install-dev  ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

lock:  ## pins requirements*.txt anew from pyproject.toml
	@$(PYTHON) -m venv .lock
	@.lock/bin/pip --disable-pip-version-check install --quiet 'uv>=0.9,<1'
	.lock/bin/$(COMPILE) --group build --output-file requirements.txt $(ARGS)
	.lock/bin/$(COMPILE) --group build --extra dev --constraints requirements.txt --output-file requirements-dev.txt $(ARGS)
	.lock/bin/$(COMPILE) --group build --extra bench --constraints requirements.txt --output-file requirements-bench.txt $(ARGS)

COMPILE = uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

bench-lookups: $(VENV)/.installed-bench  ## lookups beside a dict and a Redis (Debian: redis-server): ARGS="--keys 1000000"
	@$(BIN)/python -m benchmarks.lookups $(ARGS)

image-test:  ## builds the image and runs it against an Apache Kafka
	./scripts/image_test.sh

clean:  ## removes what these verbs made
	rm -rf $(VENV) .lock .kafka build *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
