SHELL := /usr/bin/env bash -o pipefail
.SHELLFLAGS := -ec
.DEFAULT_GOAL := help

# Tools are pinned in the go.mod files below hack, and built by Go when they are needed.

CONTROLLER_GEN := go tool -modfile=hack/tools/go.mod controller-gen
GOLANGCI_LINT := go tool -modfile=hack/lint/go.mod golangci-lint-kube-api-linter
ACTIONLINT := go tool -modfile=hack/workflows/go.mod actionlint
HELM ?= go tool -modfile=hack/helm/go.mod helm

# Tests and demo run against the control plane that this script finds or builds.
WITH_CONTROL_PLANE = assets="$$(hack/control-plane.sh)" && KUBEBUILDER_ASSETS="$$assets"

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
IMG ?= opencx-operator:latest
PLATFORMS ?= linux/amd64,linux/arm64
PKG ?= ./...
KUBECTL ?= kubectl
DOCKER ?= docker
# Docker before version 23 builds without BuildKit unless it is told.
export DOCKER_BUILDKIT ?= 1
# What an image has of its commit, so that building it again gives the same.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
IMAGE_ARGS = --build-arg VERSION=$(VERSION) --build-arg REVISION=$(shell git rev-parse HEAD 2>/dev/null) \
	--build-arg CREATED=$(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null)

##@ Try it

.PHONY: demo
demo: build ## Watch contacts arrive at a simulated OpenCX, through a real kube-apiserver. ARGS=--exit checks and ends.
	@$(WITH_CONTROL_PLANE) bin/demo $(ARGS)

.PHONY: run
run: build ## Run the operator against the cluster of the current kubeconfig. ARGS adds flags.
	bin/manager --zap-devel $(ARGS)

##@ Develop

.PHONY: test
test: ## Run all tests, against a real kube-apiserver and etcd. PKG names packages, ARGS adds flags of go test.
	@$(WITH_CONTROL_PLANE) go test -timeout 30m $(PKG) $(ARGS)

.PHONY: test-e2e
test-e2e: ## Test the real binary under faults: kills, restarts, a broken network, an OpenCX that misbehaves. Takes most of an hour, on Linux. ARGS adds flags.
	@$(WITH_CONTROL_PLANE) go test -tags faults -count=1 -timeout 2h -v ./test/e2e -ginkgo.timeout=2h -ginkgo.label-filter='!soak' $(ARGS)

DURATION ?= 1h

.PHONY: soak
soak: ## Change contacts and break things for DURATION, such as 24h, and see that the operator does not grow. ARGS adds flags.
	@$(WITH_CONTROL_PLANE) go test -tags faults -count=1 -timeout 0 -v ./test/e2e -ginkgo.timeout=8760h -ginkgo.label-filter=soak -soak=$(DURATION) $(ARGS)

.PHONY: test-browser
test-browser: ## Test the simulator's page in Chromium, which must be installed.
	go test -tags browser -run TestPage -count=1 ./internal/opencx/opencxtest

.PHONY: test-platforms
test-platforms: test-chart test-release test-monitoring test-argocd test-flux ## Run all tests with Helm, Prometheus, Argo CD and Flux, which it builds, but for Prometheus.

.PHONY: test-image
test-image: ## Build the image with buildah and run it; needs buildah, and root.
	@$(WITH_CONTROL_PLANE) go test -tags image -count=1 -timeout 60m ./test/image $(ARGS)

.PHONY: test-release
test-release: ## Make the files of a release, and look at them.
	@$(WITH_CONTROL_PLANE) go test -tags platforms -count=1 -timeout 30m ./test/release $(ARGS)

.PHONY: test-chart
test-chart: ## Test the Helm chart, and every way to install, upgrade and uninstall, with the real Helm.
	@$(WITH_CONTROL_PLANE) go test -tags platforms -count=1 -timeout 30m ./test/chart ./test/install $(ARGS)

.PHONY: test-monitoring
test-monitoring: ## Test metrics, alerts and dashboard in a real Prometheus, which must be installed.
	@$(WITH_CONTROL_PLANE) go test -tags platforms -count=1 -timeout 20m ./test/monitoring $(ARGS)

.PHONY: test-argocd
test-argocd: ## Test config/argocd and a sync with Argo CD's own engine. Builds much of Argo CD.
	cd test/argocd && go test ./...
	@$(WITH_CONTROL_PLANE) go test -tags platforms -timeout 30m -count=1 ./test/gitops $(ARGS)

.PHONY: test-flux
test-flux: ## Test organizations and contacts with Flux's own kustomize-controller and notification-controller, which it builds.
	@$(WITH_CONTROL_PLANE) go test -tags platforms -timeout 60m -count=1 ./test/flux $(ARGS)

.PHONY: bench
bench: build ## Measure the operator and compare with its goals; takes about half an hour. ARGS adds flags.
	@go build -o bin/ ./test/bench ./test/bench/bareloop
	@$(WITH_CONTROL_PLANE) bin/bench $(ARGS)

.PHONY: bench-scale
bench-scale: build ## Measure what 1 000, 10 000 and 50 000 contacts cost, and compare with the goals; takes a quarter of an hour. ARGS adds flags.
	@go build -o bin/ ./test/bench
	@$(WITH_CONTROL_PLANE) bin/bench --scale=1000,10000,50000 --idle=1m $(ARGS)

.PHONY: fuzz
fuzz: ## Look, for a minute each, for input that breaks the client, the values or the CRD.
	@$(WITH_CONTROL_PLANE) hack/fuzz.sh

.PHONY: build
build: ## Build the operator, the simulator and the demo into bin.
	@mkdir -p bin
	@go build -ldflags "-X main.version=$(VERSION)" -o bin/manager .
	@go build -o bin/ ./hack/demo ./cmd/opencx-simulator

.PHONY: control-plane
control-plane: ## Get kube-apiserver, etcd and kubectl for tests and demo, and print where they are.
	@hack/control-plane.sh

.PHONY: generate
generate: ## Generate deepcopy functions.
	$(CONTROLLER_GEN) object paths=./api/...

CRDS := config/crd/bases
CRD_REF_DOCS := go tool -modfile=hack/docs/go.mod crd-ref-docs

.PHONY: api-docs
api-docs: ## Generate docs/api-reference.md.
	$(CRD_REF_DOCS) --source-path=api/v1alpha1 --config=hack/docs/config.yaml --templates-dir=hack/docs/templates \
		--renderer=markdown --output-path=docs/api-reference.md --log-level=ERROR

CHART := charts/opencx-operator

.PHONY: crds
crds: # Its test sets CRDS.
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:dir=$(CRDS)
	for crd in $(CRDS)/*.yaml; do awk -f hack/crd.awk $$crd >$$crd.new || { rm $$crd.new; exit 1; }; mv $$crd.new $$crd; done

.PHONY: manifests
manifests: crds ## Generate the CRDs and the RBAC role, copy what the chart has of config, and make what Argo CD needs.
	$(CONTROLLER_GEN) rbac:roleName=manager-role paths=./internal/... output:rbac:dir=config/rbac/manager
	rm -f $(CHART)/files/crds/*
	cp $(CRDS)/*.yaml $(CHART)/files/crds/
	cp config/rbac/manager/role.yaml $(CHART)/files/manager_role.yaml
	cp config/prometheus/prometheus_rule.yaml config/grafana/opencx-operator.json $(CHART)/files/
	go run ./hack/argocd

.PHONY: fmt
fmt: ## Format the code.
	$(GOLANGCI_LINT) fmt

.PHONY: vet
vet: ## Run go vet.
	go vet ./...

.PHONY: lint
lint: lint-workflows ## Run golangci-lint, with kube-api-linter on api, and actionlint.
	$(GOLANGCI_LINT) run ./...

.PHONY: lint-workflows
lint-workflows: ## Run actionlint on the workflows, without shellcheck, which not every machine has.
	$(ACTIONLINT) -shellcheck=

.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities in what the operator calls, where Go's database, or GOVULNDB, can be reached.
	@go run ./hack/vulncheck

.PHONY: verify
verify: generate manifests api-docs vet lint vulncheck ## Check that generated files are fresh and that the code is formatted and linted.
	go mod tidy
	$(GOLANGCI_LINT) fmt --diff
	git diff --exit-code
	@new="$$(git ls-files --others --exclude-standard api charts config docs)"; \
		[ -z "$$new" ] || { echo "These are new, and git does not know them: $$new" >&2; exit 1; }

.PHONY: clean
clean: ## Remove what build and test made.
	rm -rf bin dist cover.out

##@ Deliver

.PHONY: docker-build
docker-build: ## Build the image IMG for this machine's platform. DOCKER names podman or buildah instead, ARGS adds flags.
	$(DOCKER) build $(IMAGE_ARGS) $(ARGS) -t $(IMG) .

.PHONY: docker-buildx
docker-buildx: ## Build the image IMG for PLATFORMS, with SBOM and provenance, and push it. ARGS adds flags.
	$(DOCKER) buildx build --platform $(PLATFORMS) $(IMAGE_ARGS) --sbom=true --provenance=mode=max $(ARGS) -t $(IMG) \
		--output type=image,push=true,rewrite-timestamp=true .

.PHONY: update-base-image
update-base-image: ## Pin the image that is built with by its present digest. TAG names another one.
	hack/update-base-image.sh $(TAG)

.PHONY: install
install: ## Install the CRDs into the cluster of the current kubeconfig.
	$(KUBECTL) apply --server-side -k config/crd

.PHONY: uninstall
uninstall: ## Remove the CRDs, and with them every OpenCXContact and OpenCXOrganization. OpenCX keeps its records.
	$(KUBECTL) delete --ignore-not-found -k config/crd

# Which kustomization is deployed, such as config/namespaced or one of yours.
OVERLAY ?= config/default
WITH_IMAGE = $(KUBECTL) kustomize $(OVERLAY) | sed 's|image: opencx-operator:latest|image: $(IMG)|'

.PHONY: needs-image
needs-image:
	@test "$(origin IMG)" != file || { echo "Set IMG to an image that the cluster can pull, such as IMG=registry.example.com/opencx-operator:v1: see make docker-build" >&2; exit 2; }

.PHONY: deploy
deploy: needs-image ## Install CRDs and operator, with the image IMG, into the cluster of the current kubeconfig. OVERLAY names another kustomization.
	$(WITH_IMAGE) | $(KUBECTL) apply --server-side -f -

.PHONY: build-installer
build-installer: needs-image ## Write all that make deploy applies to dist/install.yaml.
	@mkdir -p dist
	$(WITH_IMAGE) >dist/install.yaml

.PHONY: release-files
release-files: build-installer ## Write install.yaml, the chart and checksums of the release VERSION to dist, with the image IMG=repository@sha256:…
	@HELM="$(HELM)" hack/release-files.sh $(VERSION) $(IMG)

.PHONY: push-chart
push-chart: ## Push the chart that release-files wrote to CHART_REPOSITORY. ARGS adds flags of helm.
	$(HELM) push dist/opencx-operator-*.tgz oci://$(CHART_REPOSITORY) $(ARGS) 2>&1

.PHONY: undeploy
undeploy: ## Remove what make deploy made, the namespace with all in it, the CRDs, and with them every OpenCXContact and OpenCXOrganization. OpenCX keeps its records.
	$(KUBECTL) delete --ignore-not-found -k $(OVERLAY)

##@ Help

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN {FS = ":.*##"; printf "Usage: make <target>\n"} /^[a-zA-Z0-9_-]+:.*?##/ {printf "  %-18s %s\n", $$1, $$2} /^##@/ {printf "\n%s\n", substr($$0, 5)}' $(MAKEFILE_LIST)
