package budget

import "time"

// lane is what is known of one key of an account: whether OpenCX takes it, and
// who waits for that. An account has one lane for each key of its organization,
// so that a key that was revoked does not stop the others.
type lane struct {
	account    *account
	key        Key
	credential string // names it in metrics
	gate       gate
	active     int    // askers in the account's queue, or with a turn or a slot
	parked     *queue // askers that wait for the gate
}

// add lets an asker wait: in the account's queue, or in front of a gate that is
// shut. Where it waits already it stays, unless it has become more urgent.
func (l *lane) add(asker Asker, class Class, now time.Time) {
	if _, queued := l.account.queue.places[asker]; queued {
		l.account.queue.add(asker, class)
		return
	}
	l.parked.add(asker, class)
	l.admit(now)
}

// admit lets as many into the account's queue as the gate admits.
func (l *lane) admit(now time.Time) {
	for l.parked.len() > 0 && l.active < l.gate.admits(now) {
		l.account.queue.add(l.parked.next())
		l.active++
	}
}

// remove forgets the asker's place or turn.
func (l *lane) remove(asker Asker) {
	a := l.account
	_, queued := a.queue.places[asker]
	_, woken := a.turns[asker]
	if queued || woken {
		a.queue.remove(asker)
		delete(a.turns, asker)
		l.active--
	}
	l.parked.remove(asker)
}

// recall sends those of this lane who are in the account's queue back in front
// of the gate.
func (l *lane) recall(laneOf map[Asker]*lane) {
	l.account.takeBackTurns()
	for asker, place := range l.account.queue.places {
		if laneOf[asker] == l {
			l.remove(asker)
			l.parked.add(asker, place.class)
		}
	}
}
