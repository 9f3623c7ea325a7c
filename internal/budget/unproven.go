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
	limit   Limit
	slots   int            // under way, or not free again
	in      map[string]int // of them, by namespace of the organization
	ended   []pooled       // of them, those whose requests have ended, ascending
	next    time.Time      // the second half is used no earlier
	waiting map[*account]struct{}
	given   int            // slots, so far
	givenTo map[string]int // the number of the last one of each namespace
	timer   *time.Timer    // fires at nextChange
}

// pooled is a slot that is not free again.
type pooled struct {
	at        time.Time // its request ended
	namespace string
}

func newUnproven(limit Limit) unproven {
	return unproven{
		limit:   Limit{max(1, limit.Requests/10, min(2*suspicious, limit.Requests)), limit.Window},
		in:      map[string]int{},
		waiting: map[*account]struct{}{},
		givenTo: map[string]int{},
	}
}

// half is how many slots one namespace can have.
func (u *unproven) half() int { return (u.limit.Requests + 1) / 2 }

// admits says whether one more request of acct may be made, as far as the shared tenth
// is concerned. If not, acct waits for that.
func (u *unproven) admits(acct *account, now time.Time) bool {
	if acct.current.proven {
		u.leave(acct)
		return true
	}
	for len(u.ended) > 0 && !now.Before(u.ended[0].at.Add(u.limit.Window)) {
		u.free(u.ended[0].namespace)
		u.ended = u.ended[1:]
	}
	if u.slots < u.limit.Requests && u.in[acct.namespace()] < u.half() && (u.slots < u.half() || !now.Before(u.next)) {
		return true
	}
	u.waiting[acct] = struct{}{}
	return false
}

func (u *unproven) take(acct *account, now time.Time) {
	u.slots++
	u.in[acct.namespace()]++
	u.next = now.Add(u.limit.Window / time.Duration(u.limit.Requests))
	u.given++
	u.givenTo[acct.namespace()], acct.pooledAt = u.given, u.given
}

func (u *unproven) free(namespace string) {
	u.slots--
	if u.in[namespace]--; u.in[namespace] == 0 {
		delete(u.in, namespace)
	}
}

// end notes that a request has ended. One that proved the key, or was not made, was not
// of the tenth after all.
func (u *unproven) end(acct *account, counts bool, now time.Time) {
	if counts {
		u.ended = append(u.ended, pooled{now, acct.namespace()})
	} else {
		u.free(acct.namespace())
	}
}

func (u *unproven) leave(acct *account) {
	delete(u.waiting, acct)
	if len(u.waiting) == 0 && u.slots == 0 {
		clear(u.givenTo)
	}
}

// first is whose turn it is of those who wait and may; nil for nobody.
func (u *unproven) first(now time.Time) (first *account) {
	order := func(x, y *account) int {
		return cmp.Or(cmp.Compare(u.givenTo[x.namespace()], u.givenTo[y.namespace()]), cmp.Compare(x.pooledAt, y.pooledAt), cmp.Compare(x.name, y.name))
	}
	for acct := range u.waiting {
		if (first == nil || order(acct, first) < 0) && u.admits(acct, now) {
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
	if _, waits := u.waiting[acct]; !waits {
		return now
	}
	return now.Add(time.Duration(len(u.waiting)) * u.limit.Window / time.Duration(u.limit.Requests))
}

// serveUnproven serves those who wait for the shared tenth, in turns.
func (b *Budget) serveUnproven(now time.Time) {
	u := &b.unproven
	for acct := u.first(now); acct != nil; acct = u.first(now) {
		u.leave(acct)
		if b.call(acct, now, nil) && acct.queue.len > 0 {
			u.waiting[acct] = struct{}{}
		}
		b.schedule(acct, now)
	}
	if u.timer != nil {
		u.timer.Stop()
		u.timer = nil
	}
	if next := u.nextChange(now); len(u.waiting) > 0 && next.After(now) {
		u.timer = b.at(next, func(time.Time) {})
	}
}

// namespace is that of the organization.
func (a *account) namespace() string {
	namespace, _, _ := strings.Cut(a.name, "/")
	return namespace
}
