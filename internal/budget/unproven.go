package budget

import (
	"cmp"
	"strings"
	"time"
)

// unproven is the tenth of the limit, but no fewer than two organizations need to find
// out that their keys are refused, that all organizations share whose key OpenCX has
// never accepted: a hundred bogus keys are not a hundred times the limit. Namespaces
// take turns, one has at most half of it, and beyond that half one slot is given out
// in each share of the window, so that whoever comes last does not find it used up.
type unproven struct {
	limit    Limit
	reserves bool
	reserved reserved // one for all of them: there may be thousands
	slots    int      // under way, or not free again
	in       map[string]int
	ended    []pooled  // of them, those whose requests have ended, ascending
	next     time.Time // the second half is used no earlier

	waiting map[string]map[*account]struct{} // by namespace
	len     int                              // how many they are
	given   int                              // slots, so far
	givenTo map[string]int                   // the number of the last one of each namespace
	timer   *time.Timer                      // fires at nextChange
}

// pooled are slots that are not free again.
type pooled struct {
	at        time.Time // their requests ended
	namespace string    // of the organization
	slots     int
}

func newUnproven(limit Limit, reserves bool) unproven {
	return unproven{
		limit:    Limit{max(1, limit.Requests/10, min(2*suspicious, limit.Requests)), limit.Window},
		reserves: reserves,
		in:       map[string]int{},
		waiting:  map[string]map[*account]struct{}{},
		givenTo:  map[string]int{},
	}
}

// half is how many slots one namespace can have.
func (u *unproven) half() int { return (u.limit.Requests + 1) / 2 }

// isOpen says whether one more slot may be given out, to whoever it is.
func (u *unproven) isOpen(now time.Time) bool {
	for len(u.ended) > 0 && !now.Before(u.ended[0].at.Add(u.limit.Window)) {
		u.free(u.ended[0].namespace, u.ended[0].slots)
		u.ended = u.ended[1:]
	}
	return u.slots < u.limit.Requests && (u.slots < u.half() || !now.Before(u.next)) && (!u.reserves || u.reserved.left > 0)
}

// admits says whether one more request of acct may be made, as far as the shared tenth
// is concerned. If not, acct waits for that.
func (u *unproven) admits(acct *account, now time.Time) bool {
	if acct.current.proven {
		u.leave(acct)
		return true
	}
	if u.isOpen(now) && u.in[acct.namespace()] < u.half() {
		return true
	}
	u.wait(acct)
	return false
}

func (u *unproven) wait(acct *account) {
	if u.waits(acct) {
		return
	}
	if u.waiting[acct.namespace()] == nil {
		u.waiting[acct.namespace()] = map[*account]struct{}{}
	}
	u.waiting[acct.namespace()][acct] = struct{}{}
	u.len++
}

func (u *unproven) waits(acct *account) bool {
	_, waits := u.waiting[acct.namespace()][acct]
	return waits
}

func (u *unproven) leave(acct *account) {
	if !u.waits(acct) {
		return
	}
	u.len--
	if delete(u.waiting[acct.namespace()], acct); len(u.waiting[acct.namespace()]) == 0 {
		delete(u.waiting, acct.namespace())
	}
}

func (u *unproven) take(acct *account, now time.Time) {
	u.slots++
	u.in[acct.namespace()]++
	u.next = now.Add(u.limit.Window / time.Duration(u.limit.Requests))
	u.given++
	u.givenTo[acct.namespace()], acct.pooledAt = u.given, u.given
	forgetTurns(u.givenTo, u.given)
}

func (u *unproven) free(namespace string, slots int) {
	u.slots -= slots
	if u.in[namespace] -= slots; u.in[namespace] == 0 {
		delete(u.in, namespace)
	}
}

// end notes that a request has ended. One that proved the key, or was not made, was not
// of the tenth after all.
func (u *unproven) end(acct *account, counts bool, now time.Time) {
	if counts {
		u.ended = append(u.ended, pooled{now, acct.namespace(), 1})
	} else {
		u.free(acct.namespace(), 1)
	}
}

// inherit notes what processes before this one sent, or may have.
func (u *unproven) inherit(entries []entry) {
	for _, e := range entries {
		u.slots += e.slots
		u.in[""] += e.slots
		u.ended = append(u.ended, pooled{e.at, "", e.slots})
	}
}

// reservation is what to save of it.
func (u *unproven) reservation(blocks map[*reserved]int, steps time.Duration, now time.Time) Reservation {
	ended, window := &ledger{}, u.limit.Window
	for _, p := range u.ended {
		ended.add(p.at, p.slots)
	}
	return Reservation{Window: window, Open: u.reserved.open(blocks), Used: used(window, window/steps, now, ended)}
}

// wantsBlock says that those who wait need more than is reserved.
func (u *unproven) wantsBlock() bool {
	return u.reserves && u.reserved.left == 0 && u.len > 0 && u.slots < u.limit.Requests
}

// block is how many slots are reserved at once.
func (u *unproven) block() int { return max(1, u.limit.Requests/5) }

// first is whose turn it is of those who wait and may; nil for nobody.
func (u *unproven) first(now time.Time) (first *account) {
	if u.len == 0 || !u.isOpen(now) {
		return nil
	}
	next, found := "", false
	for namespace := range u.waiting {
		if u.in[namespace] < u.half() && (!found || cmp.Or(cmp.Compare(u.givenTo[namespace], u.givenTo[next]), cmp.Compare(namespace, next)) < 0) {
			next, found = namespace, true
		}
	}
	for acct := range u.waiting[next] {
		if found && (first == nil || cmp.Or(cmp.Compare(acct.pooledAt, first.pooledAt), cmp.Compare(acct.name, first.name)) < 0) {
			first = acct
		}
	}
	return first
}

// nextChange is when waiting can next have an end; zero when that is not known.
func (u *unproven) nextChange(now time.Time) (next time.Time) {
	if u.next.After(now) && u.slots < u.limit.Requests {
		next = u.next
	}
	if len(u.ended) > 0 {
		next = earliest(next, u.ended[0].at.Add(u.limit.Window))
	}
	return next
}

// expected is roughly when the next request of acct can be made.
func (u *unproven) expected(acct *account, now time.Time) time.Time {
	if !u.waits(acct) {
		return now
	}
	return now.Add(time.Duration(u.len) * u.limit.Window / time.Duration(u.limit.Requests))
}

// serveUnproven serves those who wait for the shared tenth, in turns.
func (b *Budget) serveUnproven(now time.Time) {
	u := &b.unproven
	for acct := u.first(now); acct != nil; acct = u.first(now) {
		u.leave(acct)
		if b.call(acct, now, nil) && acct.queue.len > 0 {
			u.wait(acct)
		}
		b.schedule(acct, now)
	}
	if u.timer != nil {
		u.timer.Stop()
		u.timer = nil
	}
	if next := u.nextChange(now); u.len > 0 && next.After(now) {
		u.timer = b.at(next, func(time.Time) {})
	}
}

// namespace is that of the organization.
func (a *account) namespace() string {
	namespace, _, _ := strings.Cut(a.name, "/")
	return namespace
}
