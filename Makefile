# Each verb does one thing. Requires git, make, and Python 3.11 or newer with venv (Debian: python3, python3-venv).
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP     = $(BIN)/pip --disable-pip-version-check install --quiet
# Additional arguments of the command behind a verb: make test ARGS="-k broker", make lock ARGS=--upgrade
ARGS   ?=
# make test: by file, in the order of tests/conftest.py, in more processes than cores, since many tests wait.
ALL     := --numprocesses 6 --dist loadfile --no-loadscope-reorder
# make test-long: folders of tests that inject faults or measure; with them, the tests that are marked as long
LONG    := tests/chaos tests/integration/benchmarks
# make test-properties: factor for the number of examples
EXAMPLES ?= 10
# make chaos: number of faults under each strategy; the seed of an earlier run to repeat; one strategy instead of all four;
# CREW=whole for three workers with all roles, CREW=apart for one worker a role, instead of both; CHAINING=off puts every
# hop on the bus
FAULTS   ?= 50
SEED     ?=
STRATEGY ?=
CREW     ?=
CHAINING ?= on
# make fuzz: number of forgeries in each round; SEED repeats an earlier run
FORGERIES ?= 5000
# make bench: records per trial, rounds, and the brokers, systems and sections to run (empty: all of them)
RECORDS  ?= 100000
ROUNDS   ?= 3
BROKERS  ?=
SYSTEMS  ?=
SECTIONS ?=
# make bench SECTIONS=live: records per second, seconds per rate, and partitions (empty: those of benchmarks/live/settings.py)
RATES      ?=
SECONDS    ?=
PARTITIONS ?=
PEERS    := .venv-bench

.DEFAULT_GOAL := help
.PHONY: help install install-dev editor demo up test test-unit test-long test-live test-properties chaos fuzz kafka-test bench bench-report bench-memory bench-page bench-sqs bench-waiting bench-core bench-lookups lint \
  docs docs-serve docs-settings docs-tree screenshots lock image-test clean

help:  ## list these verbs
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

install: $(VENV)/.installed  ## install the command `metroline` into .venv
install-dev: $(VENV)/.installed-dev  ## also install what tests, lint, docs and the example lines need

# Created once: a second Python in an existing .venv would mix the two. Run `make clean` before you change it.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 install" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.installed: requirements.txt pyproject.toml | $(BIN)/pip
	@echo "installing into $(VENV) (the first time takes a minute or so)"
	@$(PIP) --require-hashes -r requirements.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@$(BIN)/python -m scripts.editor_bundle --if-possible
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt requirements-examples.txt
	@echo "installing what tests, lint and docs need into $(VENV)"
	@$(PIP) --require-hashes --no-build-isolation --use-pep517 -r requirements-dev.txt
	@$(PIP) --require-hashes --no-build-isolation --use-pep517 --no-deps -r requirements-examples.txt
	@touch $@

editor: install  ## bundle the editor of the page /rules/ again, after a change in editor/; needs Node.js 18 and npm
	@$(BIN)/python -m scripts.editor_bundle

demo: install  ## run the four strategies side by side on the example line
	@$(BIN)/metroline demo $(ARGS)

up: install  ## run a live line on this machine until Ctrl-C
	@$(BIN)/metroline up $(ARGS)

test: install-dev  ## run the tests; those on Apache Kafka need Java 17 and Maven, those in a browser Chromium
	@$(BIN)/pytest $(ALL) $(LONG:%=--ignore=%) -m "not long" $(ARGS)

test-long: install-dev  ## run the tests that inject faults or measure, and the property tests with more examples
	@$(BIN)/pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(LONG) $(ARGS)
	@$(BIN)/pytest $(ALL) -m long tests/integration tests/component tests/unit $(ARGS)
	@EXAMPLES=1 $(BIN)/pytest --numprocesses 2 --dist worksteal -m hypothesis tests/unit tests/component $(ARGS)

test-unit: install-dev  ## run the unit tests alone: no broker, no waiting
	@$(BIN)/pytest --numprocesses 2 --dist worksteal tests/unit $(ARGS)

test-live: install-dev  ## hold live traffic on Apache Kafka: 1,000 records/s, with nothing else running
	@$(BIN)/pytest tests/integration/benchmarks/test_live.py $(ARGS)

test-properties: install-dev  ## run the property tests with many more examples: EXAMPLES=10 times as many
	@EXAMPLES=$(EXAMPLES) $(BIN)/pytest --numprocesses 2 --dist worksteal --timeout 3600 -m hypothesis tests/unit tests/component $(ARGS)

chaos: install-dev  ## kill, freeze and stop processes of a line on Apache Kafka while records flow: FAULTS=50 SEED=7 STRATEGY=signpost
	@FAULTS=$(FAULTS) SEED=$(SEED) STRATEGY=$(STRATEGY) CREW=$(CREW) CHAINING=$(CHAINING) $(BIN)/pytest -s tests/chaos $(ARGS)

fuzz: install-dev  ## write garbage and forgeries on every topic of a line on Apache Kafka while records flow: FORGERIES=5000 SEED=7
	@FORGERIES=$(FORGERIES) SEED=$(SEED) $(BIN)/pytest -s tests/integration/topics $(ARGS)

kafka-test: install-dev  ## while records flow, replace the workers of an earlier commit, and kill brokers of three, under each strategy: BASE=HEAD~1
	@BASE=$(or $(BASE),HEAD~1) $(BIN)/pytest -s tests/chaos/test_rolling_upgrade.py tests/chaos/test_three_brokers.py $(ARGS)

bench-core: install-dev  ## measure the cost per record of the routing core against orjson and CEL; fails if a target is missed
	@$(BIN)/python -m benchmarks.micro.core $(ARGS)

bench-lookups: $(PEERS)/.installed  ## compare lookups with a dict and with Redis (Debian: redis-server): ARGS="--keys 1000000"
	@$(PEERS)/bin/python -m benchmarks.micro.lookups $(ARGS)

bench: install-dev $(PEERS)/.installed  ## compare the strategies with other systems: RECORDS=100000 ROUNDS=3 BROKERS=kafka SYSTEMS=signpost,... SECTIONS=latency,...
	@$(BIN)/python -m benchmarks.run --records $(RECORDS) --rounds $(ROUNDS) $(if $(BROKERS),--brokers $(BROKERS)) \
	  $(if $(SYSTEMS),--systems $(SYSTEMS)) $(if $(SECTIONS),--sections $(SECTIONS)) \
	  $(if $(RATES),--rates $(RATES)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(PARTITIONS),--partitions $(PARTITIONS)) $(ARGS)

bench-report: install-dev  ## render benchmarks/RESULTS.md from the raw results
	@$(BIN)/python -m benchmarks.report

bench-memory: install-dev  ## measure a worker's memory with 2 million waiting records and over 10 million, on Apache Kafka; takes ten minutes
	@$(BIN)/python -m benchmarks.memory $(ARGS)

bench-page: install-dev  ## measure the processor time that an open page costs its worker (Debian: chromium): ARGS="--rate 2000 --broker kafka://..."
	@$(BIN)/python -m benchmarks.open_page $(ARGS)

bench-sqs: install-dev  ## measure how fast one process receives from SQS and delivers to it, with ElasticMQ: ARGS="--records 5000 --rounds 1"
	@$(BIN)/python -m benchmarks.sqs $(ARGS)

bench-waiting: install-dev  ## measure a worker while 100,000 records wait for a day, on Apache Kafka: ARGS="--records 1000000 --wait 3600 --watch 600"
	@$(BIN)/python -m benchmarks.waiting $(ARGS)

# Peers need packages that Metroline does not. A peer that cannot be installed is reported and left out of the run.
$(PEERS)/.installed: requirements-bench.txt
	@echo "installing the peers into $(PEERS)"
	@$(PYTHON) -m venv --clear $(PEERS)
	@$(PEERS)/bin/pip --disable-pip-version-check install --quiet --require-hashes -r requirements-bench.txt || \
	  $(PYTHON) -m benchmarks.peers.install $(PEERS)/bin/pip
	@touch $@

lint: install-dev  ## run ruff, mypy and the import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install-dev  ## build the documentation into site/; fails on a broken link
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet $(ARGS)
	@echo "built site/: \`make docs-serve\` shows it"

docs-serve: install-dev  ## show the documentation on http://127.0.0.1:8000 while you write, until Ctrl-C
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve $(ARGS)

docs-settings: install-dev  ## generate docs/settings.md from the docstrings in app/settings.py and app/line_settings.py
	@$(BIN)/python -m scripts.settings_page > docs/settings.md.new && mv docs/settings.md.new docs/settings.md

docs-tree: install-dev  ## write the tree in docs/ARCHITECTURE.md from the docstrings of the modules
	@$(BIN)/python -m scripts.architecture_tree

screenshots: install-dev  ## take the pictures in docs/img/ anew: the pages of a line that runs meanwhile (Debian: chromium)
	@$(BIN)/python -m scripts.screenshots $(ARGS)

lock:  ## update requirements*.txt from pyproject.toml
	@$(PYTHON) -m venv .lock
	@.lock/bin/pip --disable-pip-version-check install --quiet 'uv>=0.9,<1'
	.lock/bin/$(COMPILE) pyproject.toml --group build --group limits --extra formats --extra sqs --output-file requirements.txt $(ARGS)
	.lock/bin/$(COMPILE) pyproject.toml --group build --extra dev --constraints requirements.txt --output-file requirements-dev.txt $(ARGS)
	.lock/bin/$(COMPILE) pyproject.toml --group bench --output-file requirements-bench.txt $(ARGS)
	.lock/bin/$(COMPILE) --group webhooks --no-deps --output-file requirements-examples.txt $(ARGS)

COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

image-test:  ## build the image and run it against an Apache Kafka
	./scripts/image_test.sh

clean:  ## remove everything that these verbs created
	rm -rf $(VENV) $(PEERS) .lock .kafka .registry .opensearch .elasticmq build site app/views/static/rules_editor.js *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
