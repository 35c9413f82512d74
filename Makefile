# Targets of Statiko. "make run" sets everything up and runs a node, "make cluster" three of them and an etcd;
# "make test" passes the tests.

GO      ?= go
BIN     := bin
TIMEOUT ?= 20m
# How long each fuzz target runs in "make fuzz".
FUZZTIME ?= 30s

.PHONY: run cluster build test lint bench fuzz chaos mutants clean

run: build
	@scripts/run

cluster: build
	@scripts/cluster

build:
	@$(GO) build -o $(BIN)/statiko ./cmd/node
	@$(GO) build -o $(BIN)/stkcli ./cmd/stkcli

# Many tests wait for disks, servers and clocks, so three packages at once keep two processors busy. A process with the race
# detector need not wait for a second at its end. The packages that take longest begin first.
PACKAGES ?= 3
LONGEST := ./test ./etcdstore
test:
	GORACE=atexit_sleep_ms=0 $(GO) test -race -p $(PACKAGES) -timeout $(TIMEOUT) $(LONGEST) ./...

lint:
	@scripts/lint

# BENCH has arguments, such as BENCH='-only c,i -quick'; -help lists them.
bench: build
	@scripts/bench $(BENCH)

fuzz:
	@scripts/fuzz $(FUZZTIME)

# Whole clusters, broken on purpose: a few minutes, or CHAOS_TIME=1h of random faults; CHAOS_SEED=n for the same ones again.
# CHAOS=TestChaos_Random runs one scenario.
CHAOS ?= .
chaos:
	STATIKO_CHAOS=1 $(GO) test -count=1 -v -timeout 0 -run '$(CHAOS)' ./test/chaos

# Deliberate bugs, each of which a test must find; MUTANTS is a regular expression of their names.
MUTANTS ?= .
mutants:
	@$(GO) run ./test/mutants -run '$(MUTANTS)'

clean:
	rm -rf $(BIN)
