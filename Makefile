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
# Of make bench: records for each trial, rounds, and which brokers, systems and sections; nothing is all of them
RECORDS  ?= 100000
ROUNDS   ?= 3
BROKERS  ?=
SYSTEMS  ?=
SECTIONS ?=
PEERS    := .venv-bench

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo up test chaos bench bench-report bench-memory bench-core bench-lookups lint lock image-test clean

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

demo: install  ## the four strategies side by side on the example line
	@$(BIN)/metroline demo $(ARGS)

up: install  ## a live line on this machine, until Ctrl-C
	@$(BIN)/metroline up $(ARGS)

test: install-dev  ## all tests; those on Apache Kafka need Java 17 and Maven
	@$(BIN)/pytest --numprocesses 2 --dist loadfile $(ARGS)

chaos: install-dev  ## kills, freezes and stops what runs while records flow, on Apache Kafka: FAULTS=50 SEED=7 STRATEGY=signpost
	@FAULTS=$(FAULTS) SEED=$(SEED) STRATEGY=$(STRATEGY) $(BIN)/pytest -s tests/chaos $(ARGS)

bench-core: install-dev  ## what the routing core costs a record, against orjson and CEL alone; it fails where a target is missed
	@$(BIN)/python -m benchmarks.micro.core $(ARGS)

bench-lookups: $(PEERS)/.installed  ## lookups beside a dict and a Redis (Debian: redis-server): ARGS="--keys 1000000"
	@$(PEERS)/bin/python -m benchmarks.micro.lookups $(ARGS)

bench: install-dev $(PEERS)/.installed  ## strategies and peers side by side: RECORDS=100000 ROUNDS=3 BROKERS=kafka SYSTEMS=signpost,... SECTIONS=latency,...
	@$(BIN)/python -m benchmarks.run --records $(RECORDS) --rounds $(ROUNDS) $(if $(BROKERS),--brokers $(BROKERS)) \
	  $(if $(SYSTEMS),--systems $(SYSTEMS)) $(if $(SECTIONS),--sections $(SECTIONS)) $(ARGS)

bench-report: install-dev  ## benchmarks/RESULTS.md anew from the raw results
	@$(BIN)/python -m benchmarks.report.report

bench-memory: install-dev  ## a worker's memory with 2 million records waiting, and over ten million, on Apache Kafka; half an hour
	@$(BIN)/python -m benchmarks.memory $(ARGS)

# Peers bring packages that Metroline does not need. One that cannot be installed is named, and left out of the run.
$(PEERS)/.installed: requirements-bench.txt
	@echo "installing the peers into $(PEERS)"
	@$(PYTHON) -m venv --clear $(PEERS)
	@$(PEERS)/bin/pip --disable-pip-version-check install --quiet --require-hashes -r requirements-bench.txt || \
	  $(PYTHON) -m benchmarks.peers.install $(PEERS)/bin/pip
	@touch $@

lint: install-dev  ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

lock:  ## pins requirements*.txt anew from pyproject.toml
	@$(PYTHON) -m venv .lock
	@.lock/bin/pip --disable-pip-version-check install --quiet 'uv>=0.9,<1'
	.lock/bin/$(COMPILE) --group build --output-file requirements.txt $(ARGS)
	.lock/bin/$(COMPILE) --group build --extra dev --constraints requirements.txt --output-file requirements-dev.txt $(ARGS)
	.lock/bin/$(COMPILE) --group bench --output-file requirements-bench.txt $(ARGS)

COMPILE = uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

image-test:  ## builds the image and runs it against an Apache Kafka
	./scripts/image_test.sh

clean:  ## removes what these verbs made
	rm -rf $(VENV) $(PEERS) .lock .kafka build *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
