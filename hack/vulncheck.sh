#!/usr/bin/env bash
# Looks for known vulnerabilities in what the operator calls, with govulncheck. They are
# in the database at GOVULNDB, which is a URL of https, http or file and otherwise Go's.
#
# A vulnerability fails, and so does every mistake, but for a database that cannot be
# reached: whoever has no route to it is told so in one line.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

database="${GOVULNDB:-https://vuln.go.dev}"
if [[ $database == http*://* ]]; then
	# govulncheck's status is the same when there is no route and when it broke, so this
	# asks first. Of curl's, 5 and 6 are a name that is unknown, 7 that nobody listens, 28
	# that it took too long, 56 that a proxy refused; some proxies answer with a code.
	command -v curl >/dev/null || { echo "vulncheck: curl is missing: install it, or set GOVULNDB to a file:// URL" >&2; exit 1; }
	status=0
	code="$(curl --silent --location --max-time 15 --output /dev/null --write-out '%{http_code}' "${database%/}/index/modules.json.gz")" || status=$?
	case "$status:$code" in
	0:200) ;;
	5:* | 6:* | 7:* | 28:* | 56:* | 0:407 | 0:502 | 0:503 | 0:504)
		echo "vulncheck: $database cannot be reached (curl status $status, HTTP $code): nothing was checked" >&2
		exit
		;;
	*)
		echo "vulncheck: $database is no database of vulnerabilities (curl status $status, HTTP $code): correct GOVULNDB" >&2
		exit 1
		;;
	esac
fi

go tool -modfile=hack/vuln/go.mod govulncheck -db "$database" "${@:-./...}"
