package budget

import (
	"container/list"
	"maps"
	"slices"
)

// everyTenth slot goes to a class that is not the most urgent that waits, so that
// nothing starves: to each of them in turns.
const everyTenth = 10

// memorable is how many turns a turn is remembered: whose last one was before that is next
// anyway, unless as many namespaces wait.
const memorable = 1000

// forgetTurns forgets the turns, by namespace, that were long before now, so that those of
// namespaces that are gone are not kept for ever.
func forgetTurns(of map[string]int, now int) {
	if now%memorable == 0 { // all at once, which costs less
		maps.DeleteFunc(of, func(_ string, turn int) bool { return now-turn >= memorable })
	}
}

// queue holds those who wait: the most urgent class first, in a class the
// namespaces in turns, in a namespace in the order of asking. Adding, and serving whose
// turn it is, do not depend on how many wait, but on how many namespaces do. Whoever leaves
// from the middle of a line has those behind moved up.
type queue struct {
	classes [numClasses]ring
	len     int
	asked   int // numbers those who ask
	served  int
	spared  int // how many of the tenth slots were given

	bystanders int // that wait
}

// ring are the namespaces of one class that have somebody waiting.
type ring struct {
	lines  *list.List               // of *line, the one that was served longest ago first
	byName map[string]*list.Element // into lines
	served map[string]int           // by namespace, its number among those that were served last; 0 when that is long ago
	len    int
}

// line are the waiting records of one namespace in one class, by their past, each in
// the order of asking, which is that of their numbers.
type line struct {
	namespace string
	pasts     [numPasts][]*record
	len       int
}

// find is where the record of that number stands, or would.
func find(records []*record, number int) int {
	at, _ := slices.BinarySearchFunc(records, number, func(r *record, number int) int { return r.number - number })
	return at
}

func newQueue() *queue {
	q := &queue{}
	for i := range q.classes {
		q.classes[i] = ring{lines: list.New(), byName: map[string]*list.Element{}, served: map[string]int{}}
	}
	return q
}

// add puts a record at the end of its namespace's line.
func (q *queue) add(r *record, class Class, past Past) {
	q.asked++
	r.number = q.asked
	q.insert(r, class, past)
}

// update notes what else is known of a record that waits. It keeps its place, unless
// it has become more urgent.
func (q *queue) update(r *record, class Class, past Past) {
	switch {
	case class < r.class:
		q.remove(r)
		q.add(r, class, past)
	case past != r.past:
		q.remove(r)
		q.insert(r, r.class, past)
	}
}

// insert puts a record into its line, where its number belongs.
func (q *queue) insert(r *record, class Class, past Past) {
	r.class, r.past, r.stage = class, past, queued
	c := &q.classes[class]
	element := c.byName[r.asker.Namespace]
	if element == nil {
		element = c.enter(&line{namespace: r.asker.Namespace})
		c.byName[r.asker.Namespace] = element
	}
	l := element.Value.(*line)
	l.len, c.len, q.len = l.len+1, c.len+1, q.len+1
	l.pasts[past] = slices.Insert(l.pasts[past], find(l.pasts[past], r.number), r)
	if past == Bystander {
		q.bystanders++
	}
}

// enter puts a line where its turn is: whoever was served longest ago is next.
func (c *ring) enter(l *line) *list.Element {
	for element := c.lines.Back(); element != nil; element = element.Prev() {
		if c.served[element.Value.(*line).namespace] <= c.served[l.namespace] {
			return c.lines.InsertAfter(l, element)
		}
	}
	return c.lines.PushFront(l)
}

// remove takes a record out of the queue.
func (q *queue) remove(r *record) {
	c := &q.classes[r.class]
	element := c.byName[r.asker.Namespace]
	l := element.Value.(*line)
	if records := l.pasts[r.past]; records[0] == r {
		records[0] = nil
		l.pasts[r.past] = records[1:] // the usual case, of which there may be thousands
	} else {
		at := find(records, r.number)
		l.pasts[r.past] = slices.Delete(records, at, at+1)
	}
	l.len, c.len, q.len = l.len-1, c.len-1, q.len-1
	if r.past == Bystander {
		q.bystanders--
	}
	if l.len == 0 {
		c.lines.Remove(element)
		delete(c.byName, l.namespace)
	}
}

// take takes out a record that is served now; its namespace's next turn comes behind
// the others'.
func (q *queue) take(r *record) {
	for class := range r.class {
		if q.spares() && q.classes[class].len > 0 {
			q.spared++
			break
		}
	}
	c := &q.classes[r.class]
	q.served++
	c.served[r.asker.Namespace] = q.served
	for i := range q.classes {
		forgetTurns(q.classes[i].served, q.served)
	}
	c.lines.MoveToBack(c.byName[r.asker.Namespace])
	q.remove(r)
}

// first is whose turn it is in a class, among those that may; nil for nobody.
func (q *queue) first(class Class, may func(namespace string, past Past) bool) *record {
	for element := q.classes[class].lines.Front(); element != nil; element = element.Next() {
		if r := element.Value.(*line).first(may); r != nil {
			return r
		}
	}
	return nil
}

// first is who asked first, among those that may.
func (l *line) first(may func(namespace string, past Past) bool) (first *record) {
	for past, waiting := range l.pasts {
		if len(waiting) > 0 && (first == nil || waiting[0].number < first.number) && may(l.namespace, Past(past)) {
			first = waiting[0]
		}
	}
	return first
}

// mostUrgent is whose turn it is in the most urgent class that has anybody who may.
func (q *queue) mostUrgent(may func(namespace string, past Past) bool) *record {
	for class := range q.classes {
		if r := q.first(Class(class), may); r != nil {
			return r
		}
	}
	return nil
}

// next is whose turn it is, among those that may. Every tenth turn is not the most
// urgent class's.
func (q *queue) next(may func(namespace string, past Past) bool) *record {
	var firsts []*record
	for class := range q.classes {
		if r := q.first(Class(class), may); r != nil {
			if firsts = append(firsts, r); !q.spares() {
				return r
			}
		}
	}
	switch len(firsts) {
	case 0:
		return nil
	case 1:
		return firsts[0]
	}
	return firsts[1+q.spared%(len(firsts)-1)]
}

// spares says that the next slot is a tenth one, which goes to a less urgent class, if
// one waits.
func (q *queue) spares() bool { return (q.served+1)%everyTenth == 0 }

// waits says whether anybody of a less urgent class than class waits.
func (q *queue) waits(class Class) bool {
	return slices.ContainsFunc(q.classes[class+1:], func(c ring) bool { return c.len > 0 })
}

// ahead estimates how many are served before a record that waits: those of more
// urgent classes, and of its own class as many from each namespace as are
// before it in its own, at the most.
func (q *queue) ahead(r *record) int {
	n := 0
	for class := range int(r.class) {
		n += q.classes[class].len
	}
	c := &q.classes[r.class]
	own := c.byName[r.asker.Namespace].Value.(*line).upTo(r)
	for element := c.lines.Front(); element != nil; element = element.Next() {
		n += min(own, element.Value.(*line).len)
	}
	return n - 1
}

// upTo is how many of a line asked no later than r.
func (l *line) upTo(r *record) (n int) {
	for _, waiting := range l.pasts {
		n += find(waiting, r.number+1)
	}
	return n
}
