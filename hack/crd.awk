# Puts into a generated CRD what no marker can. It fails when it does not find what it
# is to change, so that no bound is lost in silence.

BEGIN {
	# Times are a pattern instead of the format date-time, because with the format
	# the API server admits what Go's metav1.Time does not decode:
	# 2026-01-02t03:04:05z, an offset of +25:00, and even a list. The pattern knows
	# the calendar, from the year 1000.
	day = "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])"
	leap = "[1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00"
	time = "([01][0-9]|2[0-3]):[0-5][0-9]"
	pattern = "^([1-9][0-9]{3}-(" day ")|(" leap ")-02-29)T" time ":[0-5][0-9]([.][0-9]{1,9})?(Z|[+-]" time ")$"

	times["OpenCXContact"] = 6
	times["OpenCXOrganization"] = 6
	maps["OpenCXContact"] = "customData queryParams pathParams bodyParams headers " \
		"customDataFrom queryParamsFrom pathParamsFrom bodyParamsFrom headersFrom"
	maps["OpenCXOrganization"] = "matchLabels"
	# controller-gen has no marker for the values of a map of plain strings.
	longest["customData"] = longest["queryParams"] = longest["pathParams"] = longest["bodyParams"] = longest["headers"] = 16384
}

/^    kind: / { kind = $2 }

/format: date-time$/ {
	sub(/format: date-time$/, "pattern: " pattern)
	timesFound++
}

# What has a bound by another way needs no second one, which would be no YAML.
bounded && !/^ +type: string$/ { fault("values of " bounded " are no plain strings") }
{ bounded = "" }

# A null in a map would be dropped without a word: a selector would be widened, and a
# map of nothing else would become {}, which erases. nullable lets it reach the rule
# that refuses it.
$1 == "additionalProperties:" {
	print
	indent = $0
	sub(/additionalProperties:$/, "  ", indent)
	if (property in longest) {
		print indent "maxLength: " longest[property]
		bounded = property
	}
	print indent "nullable: true"
	mapsFound[property]++
	next
}

{
	property = $1
	sub(/:$/, "", property)
	print
}

END {
	if (!(kind in maps)) {
		fault("the kind '" kind "' is not known")
	}
	if (timesFound != times[kind]) {
		fault(timesFound + 0 " times instead of " times[kind])
	}
	split(maps[kind], names, " ")
	for (i in names) {
		if (mapsFound[names[i]] != 1) {
			fault(mapsFound[names[i]] + 0 " maps " names[i] " instead of 1")
		}
		delete mapsFound[names[i]]
	}
	for (name in mapsFound) {
		fault("the map " name " is not known")
	}
	exit faults > 0
}

function fault(text) {
	print "hack/crd.awk: " FILENAME ": " text > "/dev/stderr"
	faults++
}
