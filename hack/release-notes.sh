#!/usr/bin/env bash
# Prints what CHANGELOG.md says of a version: hack/release-notes.sh v0.1.0
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version="${1:-}"
if [[ ! $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]]; then
	echo "release-notes: \"$version\" is no version such as v0.1.0 or v0.2.0-rc.1" >&2
	exit 2
fi
# From the heading of the version to the next one, or to the links below the last one.
notes="$(awk -v heading="## [${version#v}] - " '
	index($0, heading) == 1 { inside = 1; next }
	/^## / || /^\[[^]]*\]: / { inside = 0 }
	inside' CHANGELOG.md)"
if [[ $notes != *[![:space:]]* ]]; then
	echo "release-notes: CHANGELOG.md says nothing of $version: give it a section \"## [${version#v}] - $(date +%Y-%m-%d)\"" >&2
	exit 1
fi
echo "$notes"
