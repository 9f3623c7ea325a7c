package budget

import "container/list"

const numClasses = int(Resync) + 1

// everyTenth slot goes to the lowest class that waits, so that nothing starves.
const everyTenth = 10

// queue holds those who wait: the most urgent class first, in a class the
// namespaces in turns, in a namespace in the order of asking. Adding,
// removing and serving are O(1) in those who wait.
type queue struct {
	classes [numClasses]turns
	places  map[Asker]place
	served  int
}

// turns are the namespaces of one class that have somebody waiting.
type turns struct {
	ring   *list.List               // of *waiters, the next to be served first
	byName map[string]*list.Element // into ring
	count  int
}

// waiters are the askers of one namespace in one class, of type Asker.
type waiters struct {
	namespace string
	askers    *list.List
}

// place is where an asker waits.
type place struct {
	class     Class
	namespace *list.Element // in turns.ring
	asker     *list.Element // in waiters.askers
}

func newQueue() *queue {
	q := &queue{places: map[Asker]place{}}
	for i := range q.classes {
		q.classes[i] = turns{ring: list.New(), byName: map[string]*list.Element{}}
	}
	return q
}

func (q *queue) len() int { return len(q.places) }

// add puts an asker at the end of its namespace's queue. An asker that waits
// keeps its place, unless it has become more urgent.
func (q *queue) add(asker Asker, class Class) {
	if old, waits := q.places[asker]; waits {
		if old.class <= class {
			return
		}
		q.remove(asker)
	}
	t := &q.classes[class]
	namespace := t.byName[asker.Namespace]
	if namespace == nil {
		namespace = t.ring.PushBack(&waiters{asker.Namespace, list.New()})
		t.byName[asker.Namespace] = namespace
	}
	t.count++
	q.places[asker] = place{class, namespace, namespace.Value.(*waiters).askers.PushBack(asker)}
}

// remove takes an asker out of the queue, if it is in it.
func (q *queue) remove(asker Asker) {
	p, waits := q.places[asker]
	if !waits {
		return
	}
	delete(q.places, asker)
	t := &q.classes[p.class]
	t.count--
	w := p.namespace.Value.(*waiters)
	w.askers.Remove(p.asker)
	if w.askers.Len() == 0 {
		t.ring.Remove(p.namespace)
		delete(t.byName, w.namespace)
	}
}

// next takes out the one whose turn it is. The queue must not be empty.
func (q *queue) next() (Asker, Class) {
	q.served++
	class := 0
	if q.served%everyTenth == 0 {
		for class = numClasses - 1; q.classes[class].count == 0; class-- {
		}
	} else {
		for q.classes[class].count == 0 {
			class++
		}
	}
	return q.take(class, q.classes[class].ring.Front()), Class(class)
}

// nextEdit takes out the next edit of the first namespace that may have one,
// unless it is the turn of the lowest class.
func (q *queue) nextEdit(may func(namespace string) bool) (Asker, bool) {
	if (q.served+1)%everyTenth == 0 && q.classes[Edit].count < q.len() {
		return Asker{}, false
	}
	for namespace := q.classes[Edit].ring.Front(); namespace != nil; namespace = namespace.Next() {
		if may(namespace.Value.(*waiters).namespace) {
			q.served++
			return q.take(int(Edit), namespace), true
		}
	}
	return Asker{}, false
}

// take takes out the first asker of a namespace, which then waits for its next
// turn behind the others.
func (q *queue) take(class int, namespace *list.Element) Asker {
	asker := namespace.Value.(*waiters).askers.Front().Value.(Asker)
	q.classes[class].ring.MoveToBack(namespace)
	q.remove(asker)
	return asker
}

// ahead estimates how many are served before an asker that waits: those of more
// urgent classes, and of its own class as many from each namespace as are
// before it in its own, at the most.
func (q *queue) ahead(asker Asker) int {
	p := q.places[asker]
	n := 0
	for class := range int(p.class) {
		n += q.classes[class].count
	}
	own := p.namespace.Value.(*waiters).askers.Len() - 1
	for namespace := q.classes[p.class].ring.Front(); namespace != nil; namespace = namespace.Next() {
		n += min(own+1, namespace.Value.(*waiters).askers.Len())
	}
	return n - 1
}
