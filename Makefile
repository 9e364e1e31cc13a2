# Holt's build. GNU make on Debian, as root; everything else that is needed is installed by the targets that
# need it: C tools from the distribution (only when missing), Go modules by go itself. Nothing else is fetched.
#
#   make run     a cluster of 3 servers and 2 agents on this machine, with the example on it
#   make test    every check and test
#   make help    the other targets

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
# Targets start Go builds, which use every core by themselves; run side by side they would only compete for memory.
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

# One set of flags for every go command: packages compiled by one target are then reused by the next. In all
# there are two variants of each package, plain and -race; the shim shares the plain one, save for its cgo.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false

VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
KUBERNETES  := v1.37.2
SERVERS     ?= 3
AGENTS      ?= 2
E2E_TIMEOUT ?= 40m
FUZZTIME    ?= 20s
HOURS       ?= 50
BENCH       ?=
TORTURE     ?= 10m
KILLS       ?= 50

SHIM       := agent/shim/binary/holt-shim
SHIM_TAGS  := seccomp,netgo,osusergo
SHIM_ENV   := CGO_ENABLED=1
KUBECONFIG := bin/kubeconfig
KUBECTL    := bin/kubectl --kubeconfig $(KUBECONFIG)

# What the shim needs to build: a C compiler, a static libc and libseccomp.
BUILD_PACKAGES := gcc libc6-dev libseccomp-dev pkg-config
# What the tests look at the machine with. Holt itself executes none of it.
TEST_PACKAGES  := iproute2 nftables procps e2fsprogs

.PHONY: help build shim images kubectl peers run down test lint unit e2e bench bench-peers torture fuzz clean vagrant-validate \
	simulate simulate-bugs simulate-short build-packages test-packages

help:
	@echo 'build             bin/holt, with the shim inside'
	@echo 'images            bin/images/*.tar, the images that the example and the tests run'
	@echo 'kubectl           bin/kubectl $(KUBERNETES)'
	@echo 'run               start a cluster here ($(SERVERS) servers, $(AGENTS) agents) and apply examples/'
	@echo 'down              stop it and remove all that it left'
	@echo 'test              lint, unit and e2e'
	@echo 'lint              gofmt, go vet, staticcheck'
	@echo 'unit              the tests of all packages, under the race detector'
	@echo 'e2e               clusters of several hosts on this machine'
	@echo 'bench             a table of the figures that matter'
	@echo 'bench-peers       the same work for Holt and for kube-apiserver $(KUBERNETES) with etcd; BENCH=-quick is a short one'
	@echo 'torture           checks what clients see under faults, for TORTURE ($(TORTURE)) and KILLS ($(KILLS)) kills of all servers'
	@echo 'fuzz              each fuzz test for FUZZTIME ($(FUZZTIME))'
	@echo 'simulate          clusters in virtual time for HOURS ($(HOURS)) of it, or for FOR=10m, from SEED on'
	@echo 'simulate-bugs     the same with each bug of internal/bugs, which it has to find'
	@echo 'vagrant-validate  check the Vagrantfile, where Vagrant is installed'
	@echo 'clean             remove what was built'

# $(call install,PACKAGES): asks apt only for what is missing, so that a machine without a network can build again.
define install
	@command -v dpkg-query >/dev/null || exit 0; \
	missing=; \
	for package in $(1); do \
		[ "$$(dpkg-query -W -f='$${db:Status-Status}' $$package 2>/dev/null)" = installed ] || missing="$$missing $$package"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	echo "installing$$missing"; \
	export DEBIAN_FRONTEND=noninteractive; \
	if ! { apt-get update -qq || true; apt-get install -y -qq --no-install-recommends $$missing; } </dev/null; then \
		echo "make: could not install$$missing; install them as root (on another distribution: their equivalents) and run make again" >&2; \
		exit 1; \
	fi
endef

build-packages:
	$(call install,$(BUILD_PACKAGES))

test-packages:
	$(call install,$(BUILD_PACKAGES) $(TEST_PACKAGES))

# go build leaves a file alone that is up to date, so these targets have no prerequisites to keep true by hand.
build: shim
	go build -ldflags '-s -w -X github.com/holt-project/holt/cli.version=$(VERSION)' -o bin/holt .

# The shim is what joins namespaces before Go's runtime starts, hence C; static, so that it runs on any host.
# holt embeds it: build, vet and test every package only after it is there.
shim: build-packages
	$(SHIM_ENV) go build -tags '$(SHIM_TAGS)' -ldflags '-s -w -extldflags -static' -o $(SHIM) ./agent/shim

images:
	go run ./examples/images -o bin/images

# A build of the libraries does not know its version; Kubernetes' own release builds set it in the same way.
KUBERNETES_VERSION = $(foreach pair,gitVersion=$(KUBERNETES) gitMajor=$(word 1,$(NUMBERS)) gitMinor=$(word 2,$(NUMBERS)), \
	-X k8s.io/component-base/version.$(pair))
NUMBERS = $(subst ., ,$(KUBERNETES:v%=%))

kubectl:
	cd e2e/kubectl && go build -ldflags '-s -w$(KUBERNETES_VERSION)' -o ../../bin/kubectl .

# What Holt is measured against. The first build takes minutes and no other target needs it.
peers:
	cd e2e/peers && go build -ldflags '-s -w$(KUBERNETES_VERSION)' -o ../../bin/peers/ ./apiserver ./etcd

run: build images kubectl
	@if ! bin/holt hosts >/dev/null 2>&1; then \
		rm -f $(KUBECONFIG); \
		bin/holt up --servers $(SERVERS) --agents $(AGENTS) --images bin/images --kubeconfig $(KUBECONFIG); \
	elif $(KUBECTL) --request-timeout=20s get nodes >/dev/null 2>&1; then \
		echo 'The sandbox already runs, with the binary that it was started with (make down stops it).'; \
	else \
		echo 'make: there is a sandbox, but it does not answer; make down removes it, then make run again' >&2; \
		exit 1; \
	fi
	$(KUBECTL) apply -f examples/
	$(KUBECTL) rollout status deployment/whoami --timeout=180s
	@address=$$($(KUBECTL) get nodes -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}'); \
	printf '%s\n' '' 'whoami is up. Try:' \
		'  export KUBECONFIG=$(CURDIR)/$(KUBECONFIG) PATH=$(CURDIR)/bin:$$PATH' \
		'  kubectl get pods -o wide' \
		"  curl http://$$address:30080/                   # again: another pod answers" \
		'  kubectl scale deployment whoami --replicas=5' \
		'  kubectl set image deployment/whoami whoami=holt.local/whoami:2' \
		'  kubectl rollout undo deployment/whoami' \
		'  holt hosts                                      # who leads?' \
		'  holt host kill server-1                         # a power cut; then: holt host start server-1' \
		'  kubectl --context server-2 get nodes            # each server has a context' \
		'  make down                                       # leaves nothing behind'

down:
	@[ -x bin/holt ] || $(MAKE) build
	bin/holt down
	rm -f $(KUBECONFIG)

test: test-packages lint unit simulate-short e2e

# libcontainer does not compile without cgo, and everything else is built without it: each is read as it is built.
PURE = $$(go list ./... | grep -vE '/agent/shim(/|$$)')

lint: shim
	@unformatted=$$(gofmt -l .); \
	[ -z "$$unformatted" ] || { printf 'not formatted; run gofmt -w on:\n%s\n' "$$unformatted" >&2; exit 1; }
	go vet $(PURE)
	$(SHIM_ENV) go vet -tags '$(SHIM_TAGS)' ./agent/shim/...
	cd e2e/kubectl && go vet .
	go tool staticcheck $(PURE)
	$(SHIM_ENV) "$$(CGO_ENABLED=0 go tool -n staticcheck)" -tags '$(SHIM_TAGS)' ./agent/shim/...

# The race detector is C code, and with cgo on the tests see the shim's packages as the shim is built.
unit: shim test-packages
	CGO_ENABLED=1 go test -race -tags seccomp -timeout 15m $$(go list ./... | grep -v '^github.com/holt-project/holt/e2e')

# -count=1: the binary under test is not among the inputs that go's test cache knows of.
e2e: build images kubectl test-packages
	go test -count=1 -timeout $(E2E_TIMEOUT) ./e2e/...

bench: build images kubectl
	go run ./e2e/bench

bench-peers: build peers
	go run ./e2e/bench/peers $(BENCH)

# SEED=N repeats a schedule of faults.
TORTURE_FLAGS = $(if $(SEED),-seed $(SEED))

torture: build images kubectl test-packages
	go run ./e2e/torture $(TORTURE_FLAGS) -for $(TORTURE)
	go run ./e2e/torture $(TORTURE_FLAGS) -rounds $(KILLS)

# go fuzzes one test at a time.
fuzz: shim
	@for file in $$(grep -rlE --include='*_test.go' '^func Fuzz' .); do \
		for name in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+).*/\1/p' $$file); do \
			$(SHIM_ENV) go test -tags '$(SHIM_TAGS)' -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) $$(dirname $$file); \
		done; \
	done

# Prints simulated hours, operations, faults by kind, and violations with their schedule.
simulate:
	go test ./server/consensus/simulate -count=1 -v -timeout 0 -run '^TestSimulate$$' -args -simulate.hours=$(HOURS) \
		$(if $(FOR),-simulate.for=$(FOR)) $(if $(SEED),-simulate.seed=$(SEED))

simulate-bugs:
	go test -tags seededbugs ./server/consensus/simulate -count=1 -v -timeout 0 -run '^TestSeededBugs$$' \
		$(if $(BUGS),-args -simulate.bugs=$(BUGS))

# A handful that are found within seconds; the plain build's short run is among the unit tests.
simulate-short:
	$(MAKE) simulate-bugs BUGS=skipped-precondition,map-order,lost-event,stale-read,vote-not-persisted,snapshot-not-synced

vagrant-validate:
	@if ! command -v vagrant >/dev/null; then \
		echo 'vagrant is not installed here (Debian: apt-get install vagrant vagrant-libvirt); nothing checked'; \
	elif vagrant plugin list --local 2>/dev/null | grep -q libvirt || command -v VBoxManage >/dev/null; then \
		vagrant validate; \
	else \
		vagrant validate --ignore-provider; \
	fi

clean:
	rm -rf bin $(SHIM)
