# What people and CI run. Set-up is part of each target: what is missing is installed first.

SHELL := /bin/bash
export CARGO_TARGET_DIR ?= $(HOME)/.cache/orch-target
export PATH := $(HOME)/.cargo/bin:$(PATH)

DEBUG_BIN := $(CARGO_TARGET_DIR)/debug/orch
RELEASE_BIN := $(CARGO_TARGET_DIR)/release/orch
# The profile of the test runner, as .config/nextest.toml describes it.
PROFILE ?= $(if $(CI),ci,default)

.PHONY: help setup setup-tests check test bench churn density demo demo-stop clean

help:
	@echo 'make demo       build, start a development agent and run examples/web.hcl on it'
	@echo 'make demo-stop  end that agent and its tasks'
	@echo 'make test       every test, in a fresh clone too'
	@echo 'make check      format, dependencies, lints, doctests, documentation: what CI runs before the tests'
	@echo 'make bench      the benchmarks, with a release build'
	@echo 'make churn      one of them: a fleet of simulated nodes whose jobs change and fail'
	@echo 'make density    one of them: up to 1,000 tasks on one node'

# Python and Redis are what tests and examples run as tasks; setup-tests adds the tools of the checks.
setup setup-tests:
	@.ci/setup $(if $(filter setup-tests,$@),tests)

check: setup-tests
	cargo fmt --all --check
	cargo deny check --hide-inclusion-graph bans licenses sources
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --workspace --doc --locked
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

test: setup-tests
	cargo build --locked -p orch
	ORCH_BIN=$(DEBUG_BIN) cargo nextest run --workspace --locked --profile $(PROFILE)

bench:
	cargo build --release --locked -p orch
	ORCH_BIN=$(RELEASE_BIN) cargo bench --locked -p orch-tests

churn density:
	cargo build --release --locked -p orch
	ORCH_BIN=$(RELEASE_BIN) cargo bench --locked -p orch-tests --bench $@

demo: setup
	cargo build --locked -p orch
	@.ci/demo start

demo-stop:
	@.ci/demo stop

clean:
	cargo clean
