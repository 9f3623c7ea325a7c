#!/usr/bin/env bash
# Pins the image that Dockerfile builds with by the digest that its tag has now, or that of
# another tag: hack/update-base-image.sh 1.26.10. It asks crane, skopeo or docker buildx.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pinned="$(sed -n 's/^FROM .*\(golang:[^ ]*\) AS build$/\1/p' Dockerfile)"
tag="${1:-${pinned#golang:}}"
image="golang:${tag%%@*}"

# All of these give the digest of the index, which is that of every platform.
if command -v crane >/dev/null; then
	digest="$(crane digest "$image")"
elif command -v skopeo >/dev/null; then
	digest="sha256:$(skopeo inspect --raw "docker://$image" | sha256sum | cut -d ' ' -f 1)"
elif docker buildx version >/dev/null 2>&1; then
	digest="$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$image")"
else
	echo "update-base-image: install crane, skopeo or docker with buildx, which can ask a registry" >&2
	exit 1
fi
if [[ ! $digest =~ ^sha256:[0-9a-f]{64}$ ]]; then
	echo "update-base-image: what the registry said of $image is no digest" >&2
	exit 1
fi

sed "s|^\(FROM .*\)golang:[^ ]* AS build\$|\1$image@$digest AS build|" Dockerfile >Dockerfile.new
mv Dockerfile.new Dockerfile
git --no-pager diff --stat -- Dockerfile
