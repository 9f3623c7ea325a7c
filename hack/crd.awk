# Puts into a generated CRD what no marker can.

BEGIN {
	# Times are a pattern instead of the format date-time, because with the format
	# the API server admits what Go's metav1.Time does not decode:
	# 2026-01-02t03:04:05z, an offset of +25:00, and even a list. The pattern knows
	# the calendar, from the year 1000.
	day = "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])"
	leap = "[1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00"
	time = "([01][0-9]|2[0-3]):[0-5][0-9]"
	pattern = "^([1-9][0-9]{3}-(" day ")|(" leap ")-02-29)T" time ":[0-5][0-9]([.][0-9]{1,9})?(Z|[+-]" time ")$"
}

{
	sub(/format: date-time$/, "pattern: " pattern)
	print
}

# A null in matchLabels would be dropped, and the selector widened, without a word:
# nullable lets it reach the rule that refuses it.
/matchLabels:$/ { labels = 1 }
labels && /additionalProperties:$/ {
	sub(/additionalProperties:/, "  nullable: true")
	print
	labels = 0
}
