package budget

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// fill adds askers written as "class namespace name", separated by commas.
func fill(q *queue, askers string) {
	for _, line := range strings.Split(askers, ",") {
		var class, namespace, name string
		if _, err := fmt.Sscan(line, &class, &namespace, &name); err != nil {
			panic(err)
		}
		q.add(Asker{namespace, name}, map[string]Class{"edit": Edit, "sync": Sync, "resync": Resync}[class])
	}
}

func drain(q *queue) string {
	var names []string
	for q.len() > 0 {
		asker, _ := q.next()
		names = append(names, asker.Name)
	}
	return strings.Join(names, " ")
}

func TestOrderOfTheQueue(t *testing.T) {
	for name, tt := range map[string]struct{ askers, want string }{
		"one namespace in the order of asking": {"edit x a,edit x b,edit x c", "a b c"},
		"classes by urgency":                   {"resync x a,sync x b,edit x c,sync x d", "c b d a"},
		"namespaces in turns":                  {"edit x a,edit x b,edit x c,edit y d,edit z e,edit z f", "a d e b f c"},
		"asking again keeps the place":         {"edit x a,edit x b,edit x a", "a b"},
		"becoming urgent moves forward":        {"sync x a,sync x b,edit x b", "b a"},
		"becoming less urgent does not":        {"edit x a,sync x b,sync x a", "a b"},
		"every tenth is of the lowest class": {
			"edit x 1,edit x 2,edit x 3,edit x 4,edit x 5,edit x 6,edit x 7,edit x 8,edit x 9,edit x 10,edit x 11,sync y s,resync y r",
			"1 2 3 4 5 6 7 8 9 r 10 11 s",
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueue()
			fill(q, tt.askers)
			if got := drain(q); got != tt.want {
				t.Errorf("served %s, want %s", got, tt.want)
			}
		})
	}
}

func TestEditsAreFoundBehindOnesThatMayNotGo(t *testing.T) {
	q := newQueue()
	fill(q, "edit bulk b1,edit bulk b2,sync shop first,edit shop e,edit other o")
	var names []string
	for {
		asker, ok := q.nextEdit(func(namespace string) bool { return namespace != "bulk" })
		if !ok {
			break
		}
		names = append(names, asker.Name)
	}
	if got := strings.Join(names, " "); got != "e o" {
		t.Errorf("edits: %s, want e o", got)
	}
	if got := drain(q); got != "b1 b2 first" {
		t.Errorf("left: %s, want b1 b2 first", got)
	}
}

func TestARemovedAskerLeavesNothingBehind(t *testing.T) {
	q := newQueue()
	fill(q, "edit x a,edit x b,sync y c")
	for _, asker := range []Asker{{"x", "a"}, {"y", "c"}, {"x", "b"}, {"x", "b"}, {"z", "z"}} {
		q.remove(asker)
	}
	for class, t2 := range q.classes {
		if t2.count != 0 || t2.ring.Len() != 0 || len(t2.byName) != 0 {
			t.Errorf("class %d keeps %+v", class, t2)
		}
	}
	if q.len() != 0 {
		t.Errorf("%d places remain", q.len())
	}
}

func TestAheadSaysWhenTheTurnIs(t *testing.T) {
	q := newQueue()
	fill(q, "sync x a,sync x b,sync x c,sync y d,edit z e")
	want := drainOrder(t, "sync x a,sync x b,sync x c,sync y d,edit z e")
	for _, asker := range []Asker{{"z", "e"}, {"y", "d"}, {"x", "c"}} {
		// For the last of a namespace the estimate counts all before it.
		if got := q.ahead(asker); got < slices.Index(want, asker.Name) || got > slices.Index(want, asker.Name)+1 {
			t.Errorf("%s has %d ahead, order is %v", asker.Name, got, want)
		}
	}
}

func drainOrder(t *testing.T, askers string) []string {
	t.Helper()
	q := newQueue()
	fill(q, askers)
	return strings.Fields(drain(q))
}
