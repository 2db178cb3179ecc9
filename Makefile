# Everyday commands over CMake and Ninja. `make help` lists them.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

BUILD ?= build
JOBS ?= $(shell nproc)
DATA ?= data
# More settings for `make run`: make run ARGS="--listen 0.0.0.0 --port 8443"
ARGS ?=
# Which scenario of `make bench`; all of them when empty.
SCENARIO ?=
BENCH_ARGS ?=
FUZZ_SECONDS ?= 60
SOAK_MINUTES ?= 60

# Messages of tools go to stderr, so that `make -s bench` prints JSON only.
configure = cmake -G Ninja $(if $(shell command -v ccache),-DCMAKE_C_COMPILER_LAUNCHER=ccache)
quiet = >&2

.PHONY: help
help: ## this list
	@echo "make TARGET"
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{ printf "  %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: dependencies
dependencies:
	@tools/install-dependencies build $(quiet)

# The first configuration leaves the encryption core out: it needs more than a
# compiler. `make test` adds it, and then it stays.
$(BUILD)/build.ninja: | dependencies
	@$(configure) -B $(BUILD) -DSOTTO_E2EE=OFF $(quiet)

.PHONY: build
build: dependencies $(BUILD)/build.ninja ## the server (build/bin/sottod) and the terminal client (build/bin/sotto)
	@ninja -C $(BUILD) -j $(JOBS) sottod sotto $(quiet)

.PHONY: run
run: build ## installs what it needs, builds, and serves on http://127.0.0.1:8080 with its data in ./data
	@exec $(BUILD)/bin/sottod serve --data-dir $(DATA) $(ARGS)

# Everything that `make test` runs is a test of the one ctest at its end: the
# sanitizer and fuzzing builds are suites in it (test/suites).
.PHONY: test-dependencies
test-dependencies:
	@tools/install-dependencies build test fuzz
	@if [ -x tools/install-e2ee-dependencies ]; then tools/install-e2ee-dependencies; fi
	@if [ -x tools/fetch-e2ee-sources ]; then tools/fetch-e2ee-sources "$(abspath $(BUILD))/third_party"; fi

.PHONY: test
test: test-dependencies ## every test: unit, integration, simulation, sanitizers, a minute of each fuzzer
	$(configure) -B $(BUILD) -DSOTTO_E2EE=ON -DSOTTO_SUITES=ON -DSOTTO_FUZZ_SECONDS=$(FUZZ_SECONDS)
	ninja -C $(BUILD) -j $(JOBS)
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

.PHONY: check
check: dependencies $(BUILD)/build.ninja ## the quick tests: unit tests, layers, headers, style
	@tools/install-dependencies build test
	ninja -C $(BUILD) -j $(JOBS)
	tools/check-layers
	tools/check-headers $(BUILD)
	tools/check-style
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS) -L unit

.PHONY: lint
lint: dependencies $(BUILD)/build.ninja ## layers, headers, style, clang-tidy, shellcheck
	@tools/install-dependencies build lint
	ninja -C $(BUILD) -j $(JOBS) sottod sotto
	tools/check-layers
	tools/check-headers $(BUILD)
	tools/check-style
	shellcheck -S warning $$(grep -lE '^#!/(bin/|usr/bin/env )bash' -r tools .ci)
	tools/run-tidy $(BUILD)

.PHONY: asan
asan: test-dependencies ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	test/suites/sanitized address $(BUILD)/asan $(JOBS)

.PHONY: tsan
tsan: test-dependencies ## the tests under ThreadSanitizer
	test/suites/sanitized thread $(BUILD)/tsan $(JOBS)

.PHONY: fuzz
fuzz: test-dependencies ## every fuzzer for FUZZ_SECONDS each (60)
	test/suites/fuzzed $(FUZZ_SECONDS) $(BUILD)/fuzz $(JOBS)

.PHONY: soak
soak: test-dependencies ## integration tests and fuzzers again and again for SOAK_MINUTES (60)
	$(configure) -B $(BUILD) -DSOTTO_E2EE=ON
	ninja -C $(BUILD) -j $(JOBS)
	test/suites/fuzzed $$(( $(SOAK_MINUTES) * 60 / 2 )) $(BUILD)/fuzz $(JOBS)
	ctest --test-dir $(BUILD) --output-on-failure -C Soak -L soak
	end=$$(( SECONDS + $(SOAK_MINUTES) * 30 )); while [ $$SECONDS -lt $$end ]; do \
	  ctest --test-dir $(BUILD) --output-on-failure -LE 'unit|suite' || exit 1; done

.PHONY: bench
bench: dependencies $(BUILD)/build.ninja ## measures; SCENARIO=pairs for one; `make -s bench` prints JSON lines only
ifeq ($(SCENARIO),e2ee)
	@bench/e2ee/run $(BENCH_ARGS)
else
	@ninja -C $(BUILD) -j $(JOBS) sottod sotto-bench $(quiet)
	@$(BUILD)/bin/sotto-bench $(SCENARIO) $(BENCH_ARGS)
endif

.PHONY: clean
clean: ## removes the build directory; never the data
	rm -rf $(BUILD)
