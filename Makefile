SHELL := /usr/bin/env bash -o pipefail
.SHELLFLAGS := -ec
.DEFAULT_GOAL := help

# Tools are pinned in hack/tools/go.mod and built by Go when they are needed.
TOOL := go tool -modfile=hack/tools/go.mod

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X main.version=$(VERSION)

##@ Try it

.PHONY: demo
demo: build ## Watch contacts arrive at a simulated OpenCX, through a real kube-apiserver. ARGS=--exit checks and ends.
	@assets="$$(hack/control-plane.sh)" && KUBEBUILDER_ASSETS="$$assets" bin/demo $(ARGS)

.PHONY: run
run: build ## Run the operator against the cluster of the current kubeconfig. ARGS adds flags.
	bin/manager --zap-devel $(ARGS)

##@ Develop

.PHONY: test
test: ## Run all tests, against a real kube-apiserver and etcd. ARGS adds flags of go test.
	@assets="$$(hack/control-plane.sh)" && KUBEBUILDER_ASSETS="$$assets" go test -timeout 30m $(ARGS) ./...

.PHONY: build
build: ## Build the operator, the simulator and the demo into bin.
	@mkdir -p bin
	@go build -ldflags "$(LDFLAGS)" -o bin/manager .
	@go build -o bin/ ./hack/demo ./hack/opencx-simulator

.PHONY: control-plane
control-plane: ## Get kube-apiserver, etcd and kubectl for tests and demo, and print where they are.
	@hack/control-plane.sh

.PHONY: generate
generate: ## Generate deepcopy functions.
	$(TOOL) controller-gen object paths=./api/...

.PHONY: manifests
manifests: ## Generate the CRD and the RBAC role.
	$(TOOL) controller-gen crd paths=./api/... output:crd:dir=config/crd/bases
	$(TOOL) controller-gen rbac:roleName=manager-role paths=./internal/controller/... output:rbac:dir=config/rbac

.PHONY: fmt
fmt: ## Format the code.
	gofmt -w $$(git ls-files '*.go')

.PHONY: vet
vet: ## Run go vet.
	go vet ./...

.PHONY: clean
clean: ## Remove what build made.
	rm -rf bin

##@ Help

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN {FS = ":.*##"; printf "Usage: make <target>\n"} /^[a-zA-Z_-]+:.*?##/ {printf "  %-15s %s\n", $$1, $$2} /^##@/ {printf "\n%s\n", substr($$0, 5)}' $(MAKEFILE_LIST)
