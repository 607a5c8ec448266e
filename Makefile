# `make demo` and `make test` are the two commands of the README; everything they need they set up themselves.

CARGO ?= cargo
GUESTS := guest/target/wasm32-wasip2/release
BIN := target/release/wasmpool
BENCH_TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/wasmpool-bench

# The packages of this workspace, which `make lint` documents and checks.
OURS := -p wasmpool -p wasmpool-core -p wasmpool-hosts -p wasmpool-imports -p wasmpool-ipc -p wasmpool-manager -p wasmpool-nats -p wasmpool-objects -p wasmpool-run -p wasmpool-sandbox -p wasmpool-scheduler -p wasmpool-shared -p wasmpool-worker
# A second architecture that the tables of system calls must support. It is only checked, so the C code of blake3 need not be
# compiled: `true` stands in for a cross compiler that few machines have.
OTHER := aarch64-unknown-linux-gnu

RUN_TESTS := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo "$(CARGO) nextest run" || echo "$(CARGO) test") \
    --release --locked --no-fail-fast

.PHONY: help pictures build dist package guests rust-guests demo demo-hosts test simulate restoring faults faults-hosts model model-wake model-rings conformance lint bench bench-hosts bench-tools fuzz clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort

build: ## Build the wasmpool command
	$(CARGO) build --release --locked -p wasmpool

pictures: build ## Make the pictures of the documents anew, with chromium
	WASMPOOL_PICTURES=$(CURDIR)/docs/pictures $(CARGO) test --release --locked -p wasmpool-tests --test it pictures::

guests: rust-guests ## Build the example guests, in all languages whose tools are to be had
	@if command -v python3 >/dev/null; then CARGO='$(CARGO)' guest/languages/build; \
	elif [ "$${GUESTS_REQUIRED:-0}" = 0 ]; then echo "left out: all guests but those in Rust: there is no python3" >&2; \
	else echo "there is no python3 to build guests of other languages with" >&2; exit 1; fi

rust-guests:
	@for target in wasm32-wasip1 wasm32-wasip2; do \
	    rustup target list --installed 2>/dev/null | grep -qx $$target || rustup target add $$target; done
	cd guest && $(CARGO) build --release --locked --workspace --target wasm32-wasip2
	cd guest && $(CARGO) build --release --locked -p reach-command --target wasm32-wasip1

demo: build rust-guests ## Score a real data set, in parallel, by a sandboxed guest
	@./demo/run $(BIN) $(GUESTS)

demo-hosts: build rust-guests ## Run over three hosts of which one is killed, all of them on this machine
	@./demo/hosts $(BIN) $(GUESTS)

# One profile for everything: the tests use the same binary as users, and wasmtime is built once. The tests of the sandbox come
# first: their build contains the probes, and must not be the one that the other tests use.
test: guests ## Run every test
	$(RUN_TESTS) -p wasmpool --features probes --test sandbox
	$(RUN_TESTS) -p wasmpool-run --features probes --test confined
	$(MAKE) build
	$(RUN_TESTS) --workspace
	$(MAKE) model-wake
	$(MAKE) conformance CONFORMANCE=--short
	$(MAKE) restoring MODULES=2000
	$(CARGO) test --release --locked -p wasmpool --doc
	cd guest && $(CARGO) test --locked -p wasmpool-guest --all-features

MODULES ?= 400000

# About a quarter of the modules can be restored; the others trap at their start, export nothing, or have what is not restored.
restoring: ## Hold restored instances of more than 100,000 random modules against new ones (some minutes)
	$(CARGO) build --release --locked -p wasmpool-restoring
	cd restoring/modules && $(CARGO) build --release --locked
	restoring/modules/target/release/modules 0 $(MODULES) | target/release/restoring 100

SEEDS ?= 1000000

# `make simulate SEED=7` replays one seed and prints its events; `make simulate OBJECTS=7` one of the shared objects,
# `make simulate HOSTS=7` one of a run over many machines, `make simulate TUNNEL=7` one of the tunnel to shared objects.
simulate: ## Play a million random schedules each to the scheduler, to the shared objects, to the slots of many machines and to the tunnel to shared objects, and show how the scheduler's time grows (some minutes)
	$(CARGO) build --release --locked -p wasmpool-simulation
ifdef SEED
	target/release/simulate seed $(SEED)
else ifdef OBJECTS
	target/release/simulate objects seed $(OBJECTS)
else ifdef HOSTS
	target/release/simulate hosts seed $(HOSTS)
else ifdef TUNNEL
	target/release/simulate tunnel seed $(TUNNEL)
else
	target/release/simulate seeds $(SEEDS)
	target/release/simulate objects seeds $(SEEDS)
	target/release/simulate hosts seeds $(SEEDS)
	target/release/simulate tunnel seeds $(SEEDS)
	target/release/simulate growth
endif

faults: build ## A thousand faults in one real run of 200,000 items, and other faults (some minutes)
	WASMPOOL_TEST_FULL=1 $(RUN_TESTS) -p wasmpool-tests $(if $(findstring nextest,$(RUN_TESTS)),--no-capture faults:: scarcity:: full_disk,faults:: -- scarcity:: full_disk --nocapture)

faults-hosts: build ## Hosts, the message system and the coordinator killed, frozen and cut off in runs over many hosts (some ten minutes)
	WASMPOOL_TEST_FULL=1 $(RUN_TESTS) -p wasmpool-tests $(if $(findstring nextest,$(RUN_TESTS)),--no-capture faults_of_hosts::,faults_of_hosts:: -- --nocapture --test-threads 1)

model: model-wake model-rings ## Run the wake protocol in every order (loom), and the rings under miri where a nightly has it

# In a target directory of its own: the flag would rebuild everything else.
model-wake:
	RUSTFLAGS='--cfg loom' $(CARGO) test --release --locked -p wasmpool-ipc --lib --target-dir target/loom

# The lanes use plain memory here, since miri has no shared memory. The memory that a lane leaks is meant to live as long as its
# process.
model-rings:
	@if ! $(CARGO) +nightly miri --version >/dev/null 2>&1; then \
	    echo "left out: the rings under miri: there is no nightly toolchain with miri (rustup +nightly component add miri)" >&2; \
	else MIRIFLAGS=-Zmiri-ignore-leaks $(CARGO) +nightly miri test --locked -p wasmpool-ipc --lib lane::; fi

# `make conformance CONFORMANCE=memory` runs the scripts whose names begin with `memory`; --deterministic counts instructions.
CONFORMANCE ?=

conformance: build ## Hold the program to the WebAssembly specification's own tests (some minutes)
	$(CARGO) build --release --locked -p wasmpool-conformance
	@suite=$$(tests/third-party/fetch testsuite); case $$? in \
	    0) WASMPOOL_CACHE_DIR= target/release/conformance $${suite#* } $(CONFORMANCE) ;; \
	    3) echo "left out: the specification's tests cannot be had" >&2 ;; \
	    *) exit 1 ;; \
	esac

lint: ## Formatting, clippy (of the guests, and of the program without hosts and without the command, too), documentation, another architecture, licences, known advisories
	$(CARGO) fmt --all --check
	cd guest && $(CARGO) fmt --all --check
	cd fuzz && $(CARGO) fmt --check
	cd guest/languages/componentize && $(CARGO) fmt --check
	$(CARGO) clippy --release --locked --workspace --all-targets --features wasmpool/probes -- -D warnings
	$(CARGO) clippy --release --locked -p wasmpool --no-default-features --features command,direct-results -- -D warnings
	$(CARGO) clippy --release --locked -p wasmpool --no-default-features --features direct-results -- -D warnings
	@rustup target list --installed 2>/dev/null | grep -qx wasm32-wasip2 || rustup target add wasm32-wasip2
	cd guest && $(CARGO) clippy --release --locked --workspace --target wasm32-wasip2 -- -D warnings
	cd guest/languages/componentize && $(CARGO) clippy --release --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --release --locked --no-deps --document-private-items $(OURS)
	@rustup target list --installed 2>/dev/null | grep -qx $(OTHER) || rustup target add $(OTHER) >/dev/null 2>&1 || true
	@if ! rustup target list --installed 2>/dev/null | grep -qx $(OTHER); then echo "left out: $(OTHER): its standard library cannot be had" >&2; \
	else CC_aarch64_unknown_linux_gnu=true AR_aarch64_unknown_linux_gnu=true \
	    $(CARGO) check --release --locked --target $(OTHER) -p wasmpool --features probes; fi
	@if ! $(CARGO) deny --version >/dev/null 2>&1; then echo "left out: licences and advisories: cargo-deny is not installed" >&2; \
	else $(CARGO) deny check bans licenses sources && \
	    if $(CARGO) deny fetch db >/dev/null 2>&1; then $(CARGO) deny check advisories; \
	    else echo "left out: advisories: their list (github.com/rustsec/advisory-db) cannot be had" >&2; fi; fi

# Has functions of the same code kept once, where the linker can do that, as the one that Rust brings along for x86-64 can.
SAME_CODE := -C link-arg=-Wl,--icf=all
# The most bytes that the program may have as it is installed.
MOST_BYTES := 32000000

# Debug information goes into a file beside the program, which debuggers find by its name.
dist: ## Build the wasmpool command as it is installed: some minutes more, and faster
	@mkdir -p target; same_code=$$(printf 'fn main() {}' | rustc $(SAME_CODE) -o target/links - 2>/dev/null && echo '$(SAME_CODE)'); \
	$(CARGO) rustc --profile dist --locked -p wasmpool --bin wasmpool -- $$same_code
	@for tool in $$(ls "$$(rustc --print sysroot)"/lib/rustlib/*/bin/rust-objcopy 2>/dev/null) objcopy llvm-objcopy; do \
	    if $$tool --version >/dev/null 2>&1; then objcopy=$$tool; break; fi; done; \
	if [ -z "$$objcopy" ]; then echo "left out: stripping: there is no objcopy that runs" >&2; \
	elif [ ! -e target/dist/wasmpool.debug ] || [ target/dist/wasmpool -nt target/dist/wasmpool.debug ]; then \
	    rm -f target/dist/wasmpool.debug && \
	    $$objcopy --only-keep-debug target/dist/wasmpool target/dist/wasmpool.debug && \
	    $$objcopy --strip-all --add-gnu-debuglink=target/dist/wasmpool.debug target/dist/wasmpool target/dist/wasmpool.stripped && \
	    mv target/dist/wasmpool.stripped target/dist/wasmpool && touch target/dist/wasmpool.debug; fi
	@bytes=$$(stat -c %s target/dist/wasmpool) && echo "target/dist/wasmpool: $$bytes bytes" && \
	if [ -e target/dist/wasmpool.debug ] && [ "$$bytes" -gt $(MOST_BYTES) ]; then echo "that is more than $(MOST_BYTES), the most that it may have" >&2; exit 1; fi

# `make package PROGRAM=target/release/wasmpool` packs another program than that of `make dist`.
PROGRAM ?= target/dist/wasmpool
PACKAGES ?= target/package

package: $(if $(filter target/dist/wasmpool,$(PROGRAM)),dist) ## Make a tarball and a package for Debian of the command, with manual pages and completions
	packaging/package $(PROGRAM) $(PACKAGES)

# One command builds all packages, so that shared dependencies are built once, with the features of all.
# For example: make bench BENCH="--case square --rounds 3".
bench: rust-guests ## Measure speed beside Python's multiprocessing.Pool, and other yardsticks
	$(CARGO) build --profile dist --locked -p wasmpool -p wasmpool-limit -p wasmpool-bench-pool
	python3 bench/run.py --programs target/dist --guests $(GUESTS) --tools $(BENCH_TOOLS) $(BENCH)

# The program without the feature comes first, since the other cases need the one with it.
bench-hosts: rust-guests ## Measure runs over many hosts, all of them on this machine, and what they cost a run that has none
	$(CARGO) build --profile dist --locked -p wasmpool --no-default-features --features command,direct-results
	cp target/dist/wasmpool target/dist/wasmpool-without-hosts
	$(CARGO) build --profile dist --locked -p wasmpool -p wasmpool-limit -p wasmpool-bench-pool
	python3 bench/run.py --programs target/dist --guests $(GUESTS) --tools $(BENCH_TOOLS) --json target/bench-hosts.json \
	    --svg target/bench-hosts.svg --case 'hosts-*' $(BENCH)

# Only the features that are needed to run and cache a component: the full command takes far longer to build.
bench-tools: ## Install what some cases of the benchmark compare with or need (some minutes)
	nice $(CARGO) install wasmtime-cli --version 48.0.8 --locked --root $(BENCH_TOOLS) --no-default-features \
	    --features run,cranelift,cache,component-model,wat,parallel-compilation,pooling-allocator,addr2line,demangle
	python3 -m venv $(BENCH_TOOLS)/venv
	$(BENCH_TOOLS)/venv/bin/pip install --quiet componentize-py==0.25.1 distributed==2026.8.0

clean: ## Remove everything that was built
	$(CARGO) clean
	cd guest && $(CARGO) clean

# Needs `cargo install cargo-fuzz` and a nightly toolchain.
FUZZ_SECONDS ?= 1350

fuzz: ## Let a coverage-guided fuzzer play hostile workers, for an hour and a half in all
	cd fuzz && $(CARGO) +nightly fuzz run lane -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=512 -max_len=4096
	cd fuzz && $(CARGO) +nightly fuzz run channel -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=512 -max_len=4096
	cd fuzz && $(CARGO) +nightly fuzz run control -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=512 -max_len=40000
	cd fuzz && $(CARGO) +nightly fuzz run objects -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=512 -max_len=4096
