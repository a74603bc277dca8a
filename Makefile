# Development commands. They need Go, make and bash; make test lists what else some
# tests need.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export GOWORK := off
TOOL := go tool -modfile=tools/go.mod

FUZZTIME ?= 30s
SOAK ?= 1h
BENCH ?= .
COUNT ?= 6
KILLS ?= 300
PENDING ?= 100000
FAULTS ?= 60s

# The race detector needs a C compiler and the C library's headers.
CAN_RACE = echo 'int main(void) { return 0; }' | $$(go env CC) -include stdlib.h -x c -o /dev/null - 2>/dev/null
NO_RACE = needs a C compiler: apt-get install gcc libc6-dev

KEYS ?= 1000000,10000000
IMPACT ?= 300000

# With ./cmd/caddy and its profile, all of Caddy would be compiled once more; without -trimpath,
# each clone would compile what another one has compiled already. The race detector does not
# watch Badger's skip list, which takes an eighth of the CPU time of tests of stores. Only lint
# runs go vet, on all packages and with all of its checks.
cover fuzz lint test: export GOFLAGS := $(shell go env GOFLAGS) -pgo=off -trimpath -gcflags=github.com/dgraph-io/badger/v4/skl=-race=false

# That of the tag v1.2.3 is 1.2.3. Between releases, versions order by commit time.
VERSION ?= $(or $(patsubst v%,%,$(shell git describe --exact-match --tags --match 'v[0-9]*' 2>/dev/null)),$(shell TZ=UTC git log -1 --format=0.0.0-%cd.%h --date=format-local:%Y%m%d%H%M%S))
COMMIT ?= $(shell git describe --always --dirty --exclude '*' --abbrev=40)

# A name of a tag can have anything in it that means something to a shell.
quoted = '$(subst ','\'',$(1))'

# What internal/xbuild/release releases.
RELEASED = VERSION=$(call quoted,$(VERSION)) COMMIT=$(call quoted,$(COMMIT)) SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct)
PLATFORMS ?=
FORMATS ?=
DEB ?= dist/deb

.PHONY: help build release release-check release-notes deb etcd test kill kubernetes fleet-demo fleet-faults fleet-mutants lint fuzz fuzz-nightly soak webhooks model microbench bench bench-store bench-impact bench-fleet bench-ended profile pgo cover screenshots clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s  %s\n", $$1, $$2 }' Makefile

build: ## build dist/caddy, the Caddy that xcaddy.json describes
	VERSION=$(call quoted,$(VERSION)) COMMIT=$(call quoted,$(COMMIT)) go run ./internal/xbuild

release: ## build the files of a release with VERSION (default: from the tag), for all PLATFORMS and in all FORMATS, in dist/release
	$(RELEASED) go run ./internal/xbuild/release $(if $(PLATFORMS),-platforms $(PLATFORMS)) $(if $(FORMATS),-formats $(FORMATS))

release-check: ## build the files of dist/release again, from a clone and with a CACHE (default: an empty one), and compare them
	@if [ -n "$$(git status --porcelain)" ]; then echo 'There are uncommitted changes, which a clone does not have.'; exit 1; fi; \
	dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	git clone --quiet . "$$dir/elsewhere"; \
	GOCACHE=$(or $(CACHE),"$$dir/cache") $(MAKE) -C "$$dir/elsewhere" release PLATFORMS=$(PLATFORMS) FORMATS=$(FORMATS) VERSION=$(call quoted,$(VERSION)); \
	diff dist/release/SHA256SUMS "$$dir/elsewhere/dist/release/SHA256SUMS"; \
	echo 'Both builds gave the same files.'

release-notes: | dist ## write what CHANGELOG.md says about VERSION to dist/release-notes.md
	VERSION=$(call quoted,$(VERSION)) awk '/^## / { ours = index($$0, "## [" ENVIRON["VERSION"] "]") == 1; next } ours' CHANGELOG.md >dist/release-notes.md
	@grep -q . dist/release-notes.md || { echo 'CHANGELOG.md has no section of that version.'; exit 1; }

deb: ## build the Debian package for this machine with VERSION (default: from the tag or the commit), in DEB
	$(RELEASED) go run ./internal/xbuild/release -platforms linux/$$(go env GOARCH) -formats deb -to $(DEB)

etcd: ## build the etcd that tests run, in the build cache of Go
	for tool in server etcdctl etcdutl; do CGO_ENABLED=0 go -C test/etcd tool -n $$tool; done

test: etcd | dist ## run all tests; with API_KEYS_TESTS=all, none may be skipped
	@race=; export CGO_ENABLED=0; \
	if $(CAN_RACE); then race=-race CGO_ENABLED=1; \
	elif [ "$${API_KEYS_TESTS:-}" = all ]; then echo 'The race detector $(NO_RACE)'; exit 1; fi; \
	status=0; busy=$$(( $$(getconf _NPROCESSORS_ONLN) * 3 / 2 )); \
	$(TOOL) gotestsum --format pkgname --jsonfile dist/test.jsonl -- $$race -vet=off -count=1 -p $$busy -parallel $$busy -timeout 40m ./test ./internal/fleet ./internal/store ./... || status=$$?; \
	go -C tools/image test ./... || status=$$?; \
	if [ -z "$$race" ]; then echo 'These tests ran without the race detector, which $(NO_RACE)'; fi; \
	exit $$status

kill: ## kill the server under load KILLS (300) times, and check that nothing is lost
	go test ./test -run '^TestKill$$' -count=1 -timeout 1h -v -args -kills $(KILLS)

fleet-demo: ## run a fleet on this machine, to try it out: three members of etcd, three gateways, a balancer
	deploy/fleet/demo

kubernetes: ## check deploy/kubernetes against the schemas of Kubernetes; the first time, this builds the tool for minutes
	CGO_ENABLED=0 go -C test/kubernetes tool kubectl-validate ../../deploy/kubernetes

fleet-faults: etcd ## break a fleet and its etcd for FAULTS (60s), twice: in one process, and as processes of their own; check that nothing revoked is allowed
	go test ./internal/fleet -race -run '^TestFleet_promise$$' -count=1 -timeout 9h -v -args -faults $(FAULTS)
	go test ./test -race -run '^TestFleet_faults$$' -count=1 -timeout 9h -v -args -faults $(FAULTS)

fleet-mutants: etcd ## check that the test of a fleet's promise fails without each of the rules that keep it
	internal/fleet/mutants

lint: ## check formatting, go vet, staticcheck, the workflows, and that the go.mod files are tidy
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "gofmt -w would change:" $$files; exit 1; fi
	go vet ./...
	go -C bench vet ./...
	go -C tools/image vet ./...
	GOGC=400 $(TOOL) staticcheck ./...
	$(TOOL) actionlint -shellcheck= -pyflakes=
	go mod tidy -diff
	go -C bench mod tidy -diff
	go -C tools/image mod tidy -diff
	go -C tools mod tidy -diff
	go -C test/etcd mod tidy -diff
	go -C test/kubernetes mod tidy -diff

fuzz: ## run each fuzz target for FUZZTIME (30s)
	@list=$$(go test -list '^Fuzz' ./...) || { echo "$$list"; exit 1; }; \
	targets=$$(awk '/^Fuzz/ { name[n++] = $$1 } /^ok/ { for (i = 0; i < n; i++) print $$2, name[i]; n = 0 }' <<< "$$list"); \
	if [ -z "$$targets" ]; then echo 'There are no fuzz targets.'; exit 1; fi; \
	status=0; \
	while read -r package target; do \
		echo "$$target in $$package"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" || status=$$?; \
	done <<< "$$targets"; \
	exit $$status

fuzz-nightly: ## run each fuzz target for an hour
	$(MAKE) fuzz FUZZTIME=1h

webhooks: ## leave PENDING (100000) messages to a webhook, kill the gateway, and check that each is delivered once
	go test ./test -run '^TestWebhooks_pending$$' -count=1 -timeout 1h -v -args -pending $(PENDING)

soak: ## load a gateway for SOAK (1h), and check that memory, goroutines and open files stay flat
	go test ./test -run '^TestSoak$$' -count=1 -timeout 0 -v -args -soak $(SOAK)

model: ## check the model of the fleet's protocol, which takes minutes and needs spin and gcc
	internal/fleet/model/check

microbench: | dist ## run the Go benchmarks matching BENCH (all) COUNT (6) times, and summarize them
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./... | tee dist/bench.txt
	$(TOOL) benchstat dist/bench.txt

bench: ## compare with plain Caddy and other gateways, and update docs/benchmarks.md
	bench/install
	go -C bench run . -report ../docs/benchmarks.md

bench-ended: ## measure each store call with 10, 1,000 and 100,000 expired and revoked keys
	go test ./internal/store -run '^$$' -bench BenchmarkEnded -benchtime 300x -timeout 30m

bench-store: ## measure stores of KEYS keys (1 and 10 million), and update docs/benchmarks.md
	go -C bench run ./store -keys $(KEYS) -report ../docs/benchmarks.md

bench-impact: ## measure requests during long operations on IMPACT (300000) keys, and update docs/benchmarks.md; ONLY=restore just prints that row
	go -C bench run ./store -keys $(IMPACT) -impact 3 -report ../docs/benchmarks.md -only '$(ONLY)'

bench-fleet: ## measure fleets of 1 to 20 gateways, and update docs/fleet.md
	go -C bench run ./fleet -report ../docs/fleet.md

profile: | dist ## show where CPU time goes under load, from dist/cpu.pprof
	bench/install
	go -C bench run . -profile ../dist/cpu.pprof
	go tool pprof -top -cum dist/cpu.pprof | head -60

# So many keys that none reaches the limits of the example.
pgo: ## regenerate cmd/caddy/default.pgo, the profile for optimizing the build
	bench/install
	go -C bench run . -keys 20000 -profile ../cmd/caddy/default.pgo

cover: | dist ## write the tests' coverage to dist/cover.html
	go test -count=1 -timeout 20m -coverpkg=./... -coverprofile=dist/cover.out ./...
	go tool cover -html=dist/cover.out -o dist/cover.html
	go tool cover -func=dist/cover.out | tail -n 1

screenshots: | dist ## write screenshots of the Settings page to dist/screenshots, and two to docs/images
	mkdir -p dist/screenshots docs/images
	go test ./test -run '^TestPage_screenshots$$' -count=1 -args -screenshots $(CURDIR)/dist/screenshots
	cp dist/screenshots/{keys-light,rotation-dark}.png docs/images/

clean: ## remove build output
	rm -rf dist caddy

dist:
	mkdir -p dist
