# The one entry to this repository: `make` lists the targets. Each does all its own set-up, once per content
# (tools/prepare.py); recipes stay short, so that any other runner could do the same.

PYTHON ?= python3
# quick (make build PROFILE=quick) links faster and is for working on the extension. The extension that is built has what only
# tests call; the benchmarks build and measure it as users get it.
PROFILE ?= release
ARGS ?=
# Processes that share the tests of `make test`: one per core of the machines that CI has.
WORKERS ?= 2
BIN := .venv/bin
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
PREPARE := $(PYTHON) tools/prepare.py --profile $(PROFILE)
CHECKED_PYTHON := $(wildcard src tests codegen tools bench examples)
TESTS := $(filter-out tests/peers/,$(wildcard tests/unit/ tests/native/ tests/broker/ tests/protocol/ tests/integration/ tests/faults/ tests/security/ tests/storms/ tests/typing/ tests/docs/))
GENERATORS := $(wildcard $(addprefix codegen/,messages.py errors.py unasync.py config_docs.py option_types.py events_docs.py errors_docs.py log_events.py migration_docs.py native_docs.py) tools/produce_vectors.py)

.DEFAULT_GOAL := help
.PHONY: help setup build gen golden fmt lint lint-python lint-rust lint-gen test test-rust test-all test-kafka
.PHONY: test-faults test-cover test-peers test-chaos soak kafka broker demo bench bench-smoke bench-instructions docs ci ci-rest

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## virtual environment .venv with the pinned tools
	@$(PREPARE) venv

build:  ## build the extension into .venv (PROFILE=release or quick)
	@$(PREPARE) build

gen:  ## write every generated file again
	@$(PREPARE) venv
	@set -e; for generator in $(GENERATORS); do $(BIN)/python $$generator; done

golden:  ## write the golden messages, record batches and partitions of the tests again, by other clients (Java, Go)
	@$(PREPARE) venv
	$(BIN)/python tools/golden/make.py $(ARGS)
	$(BIN)/python tools/golden_records/make.py $(ARGS)
	$(BIN)/python tools/partition_vectors/make.py $(ARGS)

fmt:  ## format Python and Rust
	@$(PREPARE) venv
	$(BIN)/ruff check -q --fix-only $(CHECKED_PYTHON)
	$(BIN)/ruff format -q $(CHECKED_PYTHON)
	cargo fmt --all

lint: lint-python lint-rust lint-gen  ## every check that runs nothing: style, types, layers, generated files

lint-python:
	@$(PREPARE) build
	$(BIN)/ruff format -q --check $(CHECKED_PYTHON)
	$(BIN)/ruff check -q $(CHECKED_PYTHON)
	$(BIN)/mypy
	$(BIN)/python tools/check_public_types.py
	PATH="$(CURDIR)/$(BIN):$$PATH" pyright tests/typing
	$(BIN)/python -m mypy.stubtest ottla._native --allowlist tools/stubtest-allowlist.txt
	$(BIN)/codespell
	$(BIN)/python tools/plain_language.py
	$(BIN)/python tools/changelog.py --check
	$(BIN)/lint-imports --no-logo

lint-rust:
	cargo fmt --all --check
	cargo clippy -q --workspace --all-targets --features ottla-native/testing --target-dir target -- -D warnings
	cargo clippy -q -p ottla-native --target-dir target -- -D warnings

lint-gen:
	@$(PREPARE) venv
	@set -e; for generator in $(GENERATORS); do echo "$$generator --check"; $(BIN)/python $$generator --check; done

test:  ## unit, protocol, integration and fault tests against the embedded broker (ARGS=... for pytest)
	@$(PREPARE) build
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not thorough" $(TESTS) $(ARGS)

test-faults:  ## the long tests of faults: every way, code and connection of which `make test` has a sample
	@$(PREPARE) build
	$(BIN)/python -m pytest tests/faults -m thorough $(ARGS)

test-rust:  ## the tests of the crates
	cargo test -q --workspace --target-dir target

test-peers:  ## other clients and Ottla on each other's records (starts a real Kafka)
	@$(PREPARE) build peers
	$(BIN)/python -m pytest tests/peers $(ARGS)

test-chaos:  ## faults of a real cluster of three nodes (starts and kills them)
	@$(PREPARE) build peers
	$(BIN)/python -m pytest tests/chaos $(ARGS)

soak:  ## mixed faults of a real cluster for as long as asked (ARGS="--minutes 20 --seed 1")
	@$(PREPARE) build peers
	$(BIN)/python -m tests.chaos.soak $(ARGS)

test-all: test test-faults test-rust test-kafka test-peers test-chaos  ## every test there is

test-kafka:  ## the integration tests against a real Kafka
	@$(PREPARE) build
	$(BIN)/python -m pytest tests/integration --broker kafka $(ARGS)

test-cover:  ## unit and integration tests against a real Kafka, and the lines of src that they run
	@$(PREPARE) build
	$(BIN)/python -m coverage run -m pytest tests/unit tests/native tests/protocol tests/integration --broker kafka $(ARGS)
	$(BIN)/python -m coverage report

kafka:  ## start a real Kafka on free ports and wait for Ctrl-C (ARGS="--nodes 3")
	@$(PYTHON) tools/kafka/launch.py $(ARGS)

broker:  ## the embedded broker on localhost:9092 until Ctrl-C, to try the examples with (ARGS="--topics orders:3")
	@$(PREPARE) build
	@$(BIN)/python -m ottla.testing.broker $(ARGS)

bench:  ## compare Ottla with the other clients on a real Kafka (ARGS="--only produce --rounds 3")
	@$(PREPARE) wheel peers
	$(BIN)/python -m bench.run $(ARGS)

bench-smoke:  ## one short round of the benchmarks
	@$(PREPARE) wheel peers
	$(BIN)/python -m bench.run --smoke

bench-instructions:  ## instructions of one send against the committed budget (needs valgrind)
	@$(PREPARE) wheel peers
	$(BIN)/python -m bench.instructions $(ARGS)

demo:  ## a producer and a consumer group on the embedded broker, end to end
	@$(PREPARE) build
	@$(BIN)/python examples/demo.py

docs:  ## write the generated pages and run what the documents show
	@$(PREPARE) build
	$(BIN)/python codegen/config_docs.py
	$(BIN)/python codegen/events_docs.py
	$(BIN)/python codegen/errors_docs.py
	$(BIN)/python codegen/log_events.py
	$(BIN)/python codegen/migration_docs.py
	$(BIN)/python -m pytest tests/docs $(ARGS)

ci: test ci-rest  ## everything that CI runs

ci-rest: lint test-faults test-rust test-cover test-peers test-chaos demo docs bench-smoke
