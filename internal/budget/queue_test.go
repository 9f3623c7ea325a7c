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
		as := map[string]Class{"edit": Edit, "sync": Sync, "resync": Resync}[class]
		if r := waiting(q, name); r != nil {
			q.update(r, as, Untried)
		} else {
			q.add(&record{asker: Asker{Namespace: namespace, Name: name}}, as, Untried)
		}
	}
}

// waiting finds who waits by name; nil for nobody.
func waiting(q *queue, name string) (found *record) {
	for class := range q.classes {
		for e := q.classes[class].lines.Front(); e != nil; e = e.Next() {
			for _, past := range e.Value.(*line).pasts {
				for _, r := range past {
					if r.asker.Name == name {
						found = r
					}
				}
			}
		}
	}
	return found
}

func anybody(string, Past) bool { return true }

func drain(q *queue) string {
	var names []string
	for q.len > 0 {
		r := q.next(anybody)
		q.take(r)
		names = append(names, r.asker.Name)
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
		"every tenth is of another class": {
			"edit x 1,edit x 2,edit x 3,edit x 4,edit x 5,edit x 6,edit x 7,edit x 8,edit x 9,edit x 10,edit x 11,sync y s,resync y r",
			"1 2 3 4 5 6 7 8 9 s 10 11 r",
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

func TestThoseWhoMayNotGoArePassedOver(t *testing.T) {
	q := newQueue()
	fill(q, "edit bulk b1,edit bulk b2,sync shop first,edit shop e,edit other o")
	var names []string
	for {
		r := q.first(Edit, func(namespace string, _ Past) bool { return namespace != "bulk" })
		if r == nil {
			break
		}
		q.take(r)
		names = append(names, r.asker.Name)
	}
	if got := strings.Join(names, " "); got != "e o" {
		t.Errorf("edits: %s, want e o", got)
	}
	if got := drain(q); got != "b1 b2 first" {
		t.Errorf("left: %s, want b1 b2 first", got)
	}
}

func TestAnotherPastKeepsThePlace(t *testing.T) {
	q := newQueue()
	fill(q, "sync x a,sync x b,sync x c")
	for _, name := range []string{"c", "a"} {
		q.update(waiting(q, name), Sync, Failed)
	}
	if got := drain(q); got != "a b c" {
		t.Errorf("served %s, want a b c", got)
	}
}

func TestTheTenthSlotsGoToTheOtherClassesInTurns(t *testing.T) {
	q := newQueue()
	for i := range 100 {
		fill(q, fmt.Sprintf("edit x e%d,sync y s%d,resync z r%d", i, i, i))
	}
	var others []string
	for range 60 {
		r := q.next(anybody)
		if q.take(r); r.class != Edit {
			others = append(others, r.asker.Name)
		}
	}
	if got := strings.Join(others, " "); got != "s0 r0 s1 r1 s2 r2" {
		t.Errorf("beside edits were served %s, want s0 r0 s1 r1 s2 r2", got)
	}
}

func TestARemovedAskerLeavesNothingBehind(t *testing.T) {
	q := newQueue()
	fill(q, "edit x a,edit x b,sync y c")
	for _, name := range []string{"a", "c", "b"} {
		q.remove(waiting(q, name))
	}
	for class, c := range q.classes {
		if c.len != 0 || c.lines.Len() != 0 || len(c.byName) != 0 {
			t.Errorf("class %d keeps %+v", class, c)
		}
	}
	if q.len != 0 {
		t.Errorf("%d remain", q.len)
	}
}

func TestAheadSaysWhenTheTurnIs(t *testing.T) {
	q := newQueue()
	fill(q, "sync x a,sync x b,sync x c,sync y d,edit z e")
	want := drainOrder(t, "sync x a,sync x b,sync x c,sync y d,edit z e")
	for _, name := range []string{"e", "d", "c"} {
		// For the last of a namespace the estimate counts all before it.
		if got := q.ahead(waiting(q, name)); got < slices.Index(want, name) || got > slices.Index(want, name)+1 {
			t.Errorf("%s has %d ahead, order is %v", name, got, want)
		}
	}
}

func drainOrder(t *testing.T, askers string) []string {
	t.Helper()
	q := newQueue()
	fill(q, askers)
	return strings.Fields(drain(q))
}
