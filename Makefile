# Targets of Statiko. "make run" sets everything up and runs a node, "make cluster" three of them and an etcd;
# "make test" passes the tests.

GO      ?= go
BIN     := bin
TIMEOUT ?= 10m
# How long each fuzz target runs in "make fuzz".
FUZZTIME ?= 30s

.PHONY: run cluster build test lint bench fuzz clean

run: build
	@scripts/run

cluster: build
	@scripts/cluster

build:
	@$(GO) build -o $(BIN)/statiko ./cmd/node
	@$(GO) build -o $(BIN)/stkcli ./cmd/stkcli

# Many tests wait for disks, servers and clocks, so three packages at once keep two processors busy.
PACKAGES ?= 3
test:
	$(GO) test -race -p $(PACKAGES) -timeout $(TIMEOUT) ./...

lint:
	@scripts/lint

bench: build
	@$(GO) run ./test/bench

fuzz:
	@scripts/fuzz $(FUZZTIME)

clean:
	rm -rf $(BIN)
