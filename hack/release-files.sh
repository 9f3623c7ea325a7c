#!/usr/bin/env bash
# Puts the chart and the checksums of a release into dist, beside install.yaml. HELM runs helm.
# hack/release-files.sh v0.1.0 registry.example.com/opencx-operator@sha256:…
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version="$1" image="$2"
hack/release-notes.sh "$version" >/dev/null # which also looks at the version
if [[ ! $image =~ ^[^@]+@sha256:[0-9a-f]{64}$ ]]; then
	echo "release-files: \"$image\" does not name an image by its digest: set IMG=registry.example.com/opencx-operator@sha256:…" >&2
	exit 2
fi

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cp -R charts/opencx-operator "$work"
values="$work/opencx-operator/values.yaml"
sed -e "s|^  repository: .*|  repository: ${image%@*}|" -e "s|^  digest: .*|  digest: ${image#*@}|" charts/opencx-operator/values.yaml >"$values"
if [[ $(grep -cFx -e "  repository: ${image%@*}" -e "  digest: ${image#*@}" "$values") != 2 ]]; then
	echo "release-files: values.yaml of the chart has not one repository and one digest of an image" >&2
	exit 1
fi

rm -f dist/opencx-operator-*.tgz
$HELM package --version "${version#v}" --app-version "$version" --destination dist "$work/opencx-operator"
cd dist
sha256sum install.yaml opencx-operator-*.tgz | tee checksums.txt
