# What can be done here. `make` alone lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

.PHONY: help run test lint unit bench fuzz outside clients deploy tools fmt

help: ## List what can be done
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Build the broker and start it on loopback with a demo pool
	cargo run -- serve --demo

test: unit outside clients deploy ## Run every test; tells what it skips and how to get it

unit: ## Run the tests in Rust, on both stores
	tests/tools.sh check redis tmux python pyrogram kurigram hydrogram opentele gramjs mtcute \
		mtcute-convert gotd grammers
	. tests/tools.sh env; cargo test

fuzz: ## Fuzz every parser for SECONDS=60; needs nightly Rust and cargo-fuzz
	TELEGATE_CORPUS=fuzz/corpus cargo test --quiet --test it noise::no_file
	for target in $$(cargo +nightly fuzz list); do \
		cargo +nightly fuzz run $$target -- -max_total_time=$(or $(SECONDS),60) \
			-rss_limit_mb=1024 -malloc_limit_mb=256 -timeout=10 || exit 1; \
	done

bench: ## Compare with the bare parts it is made of; ARGS="load --rounds 9" for a part
	tests/tools.sh check redis
	. tests/tools.sh env; cargo bench --bench compare -- $(ARGS)

outside: ## Drive the built broker with real grpcurl
	tests/tools.sh check grpcurl grpc-health-probe
	. tests/tools.sh env; cargo build --quiet; tests/outside.sh

clients: ## Test the Python, Go, TypeScript and Java clients against a live broker
	. tests/tools.sh env; cargo build --quiet; tests/with_broker.sh clients/test.sh

deploy: ## Render and validate what is in deploy/
	. tests/tools.sh env; deploy/check.sh

lint: ## Check form: rustfmt, clippy, buf, cargo deny
	cargo fmt --check
	cargo fmt --all --check --manifest-path benches/limitador/Cargo.toml
	cargo clippy --all-targets -- -D warnings
	tests/tools.sh check buf deny
	. tests/tools.sh env; tests/lint.sh

tools: ## Install the tools that the tests can use; says what it installs
	tests/tools.sh install

fmt: ## Format the code
	cargo fmt
	cargo fmt --all --manifest-path benches/limitador/Cargo.toml
