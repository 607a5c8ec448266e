# `make demo` and `make test` are the two commands of the README; everything they need they set up themselves.

CARGO ?= cargo
GUESTS := guest/target/wasm32-wasip2/release
BIN := target/release/wasmpool

RUN_TESTS := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo "$(CARGO) nextest run" || echo "$(CARGO) test") \
    --release --locked --no-fail-fast

.PHONY: help build guests demo test lint bench fuzz clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort

build: ## Build the wasmpool command
	$(CARGO) build --release --locked -p wasmpool

guests: ## Build the example guests
	@rustup target list --installed 2>/dev/null | grep -qx wasm32-wasip2 || rustup target add wasm32-wasip2
	cd guest && $(CARGO) build --release --locked --workspace --target wasm32-wasip2

demo: build guests ## Score a real data set, in parallel, by a sandboxed guest
	@./demo/run $(BIN) $(GUESTS)

# One profile for everything: the tests use the very binary that users get, and wasmtime is built once. The tests of the
# sandbox come first: their build has the probes, and must not be what the others test.
test: guests ## Run every test
	$(RUN_TESTS) -p wasmpool --features probes --test sandbox
	$(MAKE) build
	$(RUN_TESTS) --workspace
	cd guest && $(CARGO) test --locked -p wasmpool-guest

lint: ## Formatting, clippy, licences
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets --features wasmpool/probes -- -D warnings
	cd guest && $(CARGO) fmt --all --check
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check; else echo "cargo-deny is not installed: left out"; fi

bench: build guests ## Measure speed beside Python's multiprocessing.Pool
	python3 bench/run.py --bin $(BIN) --guests $(GUESTS)

clean: ## Remove everything that was built
	$(CARGO) clean
	cd guest && $(CARGO) clean

# `cargo install cargo-fuzz` and a nightly toolchain first.
FUZZ_SECONDS ?= 1800

fuzz: ## Let a coverage-guided fuzzer play hostile workers, for an hour in all
	cd fuzz && $(CARGO) +nightly fuzz run lane -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=512 -max_len=4096
	cd fuzz && $(CARGO) +nightly fuzz run control -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=512 -max_len=40000
