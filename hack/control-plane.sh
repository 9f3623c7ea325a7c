#!/usr/bin/env bash
# Prints the directory that holds kube-apiserver, etcd and kubectl, for use as KUBEBUILDER_ASSETS.
#
# They are taken, in this order, from KUBEBUILDER_ASSETS, from what setup-envtest has in its store,
# from a download by setup-envtest, or, where there is no route to that download, from a build of
# the Go modules pinned in hack/controlplane/go.mod. A build goes into setup-envtest's store, so it
# happens once per machine: about six minutes on two cores and 2.5 GB of memory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=1.37.2 # keep equal to k8s.io/kubernetes in hack/controlplane/go.mod
minor=${version%.*}

if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
	if [[ ! -x $KUBEBUILDER_ASSETS/kube-apiserver || ! -x $KUBEBUILDER_ASSETS/etcd || ! -x $KUBEBUILDER_ASSETS/kubectl ]]; then
		echo "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS lacks kube-apiserver, etcd or kubectl: unset it, or point it at a directory that has all three." >&2
		exit 1
	fi
	echo "$KUBEBUILDER_ASSETS"
	exit
fi

envtest() { go tool -modfile=hack/tools/go.mod setup-envtest "$@"; }

if envtest use --installed-only --print path "$minor.x" 2>/dev/null; then
	exit
fi
echo "control plane: asking setup-envtest for Kubernetes $minor ..." >&2
if envtest use --print path "$minor.x" 2>/dev/null; then
	exit
fi
echo "control plane: no download available; building Kubernetes $version from Go modules (once per machine, about six minutes) ..." >&2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# build OUTPUT LDFLAGS PACKAGE... compiles and prints a line every 20 seconds, because silence looks like a hang.
build() {
	local output=$1 ldflags=$2
	shift 2
	echo "control plane: fetching the modules of $* ..." >&2
	local total log=$work/build.log
	total=$(cd hack/controlplane && go list -deps "$@" | wc -l)
	: >"$log"
	(cd hack/controlplane && CGO_ENABLED=0 go build -v -trimpath -o "$output" -ldflags "$ldflags" "$@") 2>"$log" &
	local pid=$! seconds=0
	while kill -0 "$pid" 2>/dev/null; do
		sleep 1
		seconds=$((seconds + 1))
		if ((seconds % 20 == 0)); then
			echo "control plane: ${seconds}s, $(wc -l <"$log") of up to $((total)) packages compiled" >&2
		fi
	done
	wait "$pid" || { tail -n 20 "$log" >&2; exit 1; }
}

mkdir -p "$work/kubebuilder/bin"
info=k8s.io/component-base/version
build "$work/kubebuilder/bin/" \
	"-s -w -X $info.gitVersion=v$version -X $info.gitMajor=${version%%.*} -X $info.gitMinor=${minor#*.}" \
	k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl
build "$work/kubebuilder/bin/etcd" "-s -w" go.etcd.io/etcd/server/v3

tar -C "$work" -czf "$work/envtest.tar.gz" kubebuilder
envtest sideload "$version" <"$work/envtest.tar.gz" >/dev/null
envtest use --installed-only --print path "$version"
