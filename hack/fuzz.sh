#!/usr/bin/env bash
# Runs every fuzz test for a minute, or for what FUZZTIME says.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do
	sed -n 's/^func \(Fuzz[A-Za-z]*\)(.*/\1/p' "$file" | while read -r target; do
		echo "$target in $(dirname "$file")"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-1m}" -parallel 2 "$(dirname "$file")" </dev/null
	done
done
