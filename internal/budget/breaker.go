package budget

import (
	"maps"
	"math"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Obstacle says why nobody may send for an organization.
type Obstacle int

// The obstacles.
const (
	// None: requests are sent.
	None Obstacle = iota
	// RateLimited: OpenCX answered 429, or failed and said how long to wait.
	RateLimited
	// Unauthorized: OpenCX refuses the key.
	Unauthorized
	// Unavailable: OpenCX does not answer, or fails whatever is asked.
	Unavailable
	// Unproven: OpenCX has never accepted the key, and the share of the limit that all
	// such organizations have together is used up.
	Unproven
	// Unsaved: what would be sent cannot be noted where a restart finds it.
	Unsaved
)

// String is an obstacle in lower case; "" for none.
func (o Obstacle) String() string {
	return [...]string{"", "rate limited", "unauthorized", "unavailable", "unproven", "unsaved"}[o]
}

const (
	// suspicious is how many witnesses open the breaker.
	suspicious = 3
	// twelfth of a window is how long the breaker is open at first, and the time between
	// two edits that try all the same.
	twelfth = 12
	// maxRow bounds how many failures in a row are taken for usual.
	maxRow = 12
	// The longest, in windows, that the breaker is open between two probes.
	maxUnavailable  = 4
	maxUnauthorized = 16
)

// role is what the answer to a request tells of OpenCX.
type role int

const (
	regular role = iota
	// probe is the one request that finds out whether an open breaker can be closed.
	probe
	// early is an edit that was let through although the breaker stops others: its success
	// closes it, its failure was to be expected.
	early
	// trusted is the same of a namespace that is not under suspicion.
	trusted
)

// breaker stops the requests of one organization when whatever is sent fails. A
// failure speaks against OpenCX, or the key, only when it comes from a witness: from
// somebody whose last attempt did not fail, and who, when it was never tried, sent the
// request when nothing had been accepted for a twelfth of a window. So what fails for ever
// delays nobody. Where many fail in a row and a success comes all the same, as in an import
// that is mostly broken, those who were never tried count only when more than twice as many
// have failed in a row as did of late. A bystander's answer counts for nothing.
//
// Open, it lets through one probe when its time is over. Before that, as early ones, it
// lets through a request at a time of each namespace that is not under suspicion, and an
// edit of a contact that OpenCX has accepted in every twelfth of a window.
type breaker struct {
	window time.Duration

	obstacle Obstacle // None, Unauthorized or Unavailable
	until    time.Time
	shutAt   time.Time // when it opened, or a probe failed
	growing  wait.Backoff

	witnesses map[Asker]struct{} // since the last success
	against   Obstacle           // what the last of them met
	// row is how many failed since the last success that did not fail before, and usual
	// how many that often are: the most in a row of late before a success came all the
	// same, and one less with each success that follows another.
	row, usual int
	// suspects are the namespaces of which a witness has failed since their last success, and
	// when one of them failed last.
	suspects map[string]time.Time
	// acceptedAt is when OpenCX last dealt with a request.
	acceptedAt time.Time

	probing bool
	earlyAt time.Time // when the last probe, or early edit, was called
	probes  int
	probed  map[string]int // the number of the last probe of each namespace
}

func newBreaker(window time.Duration) breaker {
	return breaker{window: window, witnesses: map[Asker]struct{}{}, suspects: map[string]time.Time{}, probed: map[string]int{}}
}

func (k *breaker) isOpen() bool { return k.obstacle != None }

// reset forgets what was learnt of another key.
func (k *breaker) reset() {
	probing := k.probing
	*k = newBreaker(k.window)
	k.probing = probing
}

// hasten has a key that is refused probed soon, because its Secret has changed, though not
// in what it holds: a twelfth of a window after the last probe, however often that is.
func (k *breaker) hasten() {
	if k.obstacle == Unauthorized {
		k.until = earliest(k.until, k.shutAt.Add(k.window/twelfth))
	}
}

// admits is how many requests may be under way while the breaker is closed: any
// number while OpenCX accepts them, otherwise no more than can be witnesses.
func (k *breaker) admits(now time.Time) int {
	if len(k.witnesses) == 0 && !k.acceptedAt.IsZero() && now.Sub(k.acceptedAt) <= k.window {
		return math.MaxInt
	}
	return max(1, suspicious-len(k.witnesses))
}

// next is who may be called while the breaker is open.
func (k *breaker) next(q *queue, in map[string]int, may func(string, Past) bool, now time.Time) (*record, role) {
	if k.obstacle != Unauthorized {
		if r := q.mostUrgent(func(namespace string, past Past) bool {
			return k.trusts(namespace) && in[namespace] == 0 && may(namespace, past)
		}); r != nil {
			return r, trusted
		}
	}
	if !k.probing && !now.Before(k.until) {
		if r := k.bestProbe(q, may); r != nil {
			return r, probe
		}
	}
	return k.early(q, may, now)
}

// beside is who may be called while as many requests are under way as the breaker
// admits: one of the namespaces that are not under suspicion, so that requests of the
// others, which OpenCX may never answer, do not hold it up; or an early edit.
func (k *breaker) beside(q *queue, in map[string]int, may func(string, Past) bool, now time.Time) (*record, role) {
	if len(k.witnesses) > 0 && k.against == Unauthorized {
		return nil, regular // the key is that of all namespaces
	}
	if trusted := slices.ContainsFunc(slices.Collect(maps.Keys(in)), k.trusts); !trusted {
		if r := q.mostUrgent(func(namespace string, past Past) bool { return k.trusts(namespace) && may(namespace, past) }); r != nil {
			return r, regular
		}
	}
	return k.early(q, may, now)
}

// trusts says that a namespace is not under suspicion.
func (k *breaker) trusts(namespace string) bool {
	_, suspected := k.suspects[namespace]
	return !suspected
}

// bestProbe is the one whose answer tells most: namespaces take turns, and in each the
// contact whose last attempt was accepted goes before one never tried, and that before
// one that failed.
func (k *breaker) bestProbe(q *queue, may func(string, Past) bool) (best *record) {
	for past := range Past(numPasts) {
		for class := range Class(numClasses) {
			for element := q.classes[class].lines.Front(); element != nil; element = element.Next() {
				r := element.Value.(*line).first(func(namespace string, its Past) bool { return its == past && may(namespace, its) })
				if r == nil {
					continue
				}
				if best == nil || k.probed[r.asker.Namespace] < k.probed[best.asker.Namespace] {
					best = r
				}
			}
		}
	}
	return best
}

// early is an edit of a contact that OpenCX has accepted: somebody waits for it, and it
// is the best witness. One goes in a twelfth of a window, whatever else is under way.
func (k *breaker) early(q *queue, may func(string, Past) bool, now time.Time) (*record, role) {
	if k.obstacle == Unauthorized || now.Before(k.earlyFrom()) {
		return nil, early
	}
	return q.first(Edit, func(namespace string, past Past) bool { return past == Accepted && may(namespace, past) }), early
}

func (k *breaker) earlyFrom() time.Time { return k.earlyAt.Add(k.window / twelfth) }

// called notes that somebody was called.
func (k *breaker) called(namespace string, as role, now time.Time) {
	switch as {
	case early:
		k.earlyAt = now
	case probe:
		k.probes++
		k.earlyAt, k.probing, k.probed[namespace] = now, true, k.probes
	}
}

// ended notes that a request has ended, or was not sent.
func (k *breaker) ended(as role) {
	if as == probe {
		k.probing = false
	}
}

// succeeded notes that OpenCX dealt with a request of namespace that was sent at
// taken. One that was already under way when the breaker opened proves nothing.
func (k *breaker) succeeded(namespace string, taken, now time.Time) {
	k.acceptedAt = now
	if k.row > 0 {
		k.usual = min(maxRow, max(k.row, k.usual))
	} else {
		k.usual = max(0, k.usual-1)
	}
	k.row = 0
	delete(k.suspects, namespace)
	if k.isOpen() && !taken.After(k.shutAt) {
		return
	}
	clear(k.witnesses)
	clear(k.probed)
	k.obstacle, k.until = None, time.Time{}
}

// isWitness says whether a failure of a request of r, sent at taken, speaks against OpenCX,
// or the key, as a whole.
func (k *breaker) isWitness(obstacle Obstacle, r *record, taken time.Time) bool {
	// With usual ones in a row, twice as many are no wonder.
	quiet := taken.Sub(k.acceptedAt) > k.window/twelfth && k.row >= 2*k.usual
	return r.past == Accepted || r.past == Untried && (quiet || obstacle == Unauthorized)
}

// failed notes that a request of r, sent at taken, met an obstacle.
func (k *breaker) failed(obstacle Obstacle, r *record, taken, now time.Time) {
	if r.past == Bystander {
		return
	}
	witness := k.isWitness(obstacle, r, taken)
	maps.DeleteFunc(k.suspects, func(_ string, at time.Time) bool { return now.Sub(at) > quietly })
	if r.past != Failed || k.isOpen() || !k.trusts(r.asker.Namespace) {
		k.suspects[r.asker.Namespace] = now
	}
	if r.past != Failed {
		k.row++
	}
	if k.isOpen() {
		// Refusals of a key that were under way when it opened are as good as probes.
		if r.role == probe || obstacle == Unauthorized && k.obstacle == Unauthorized && !taken.After(k.shutAt) {
			k.shut(obstacle, taken, now)
		}
		return
	}
	if witness {
		k.witnesses[r.asker], k.against = struct{}{}, obstacle
	}
	if len(k.witnesses) >= suspicious {
		k.shut(obstacle, now, now)
	}
}

// shut opens the breaker, for twice as long as the last time, reckoned from when the
// request was sent that showed that it must.
func (k *breaker) shut(obstacle Obstacle, sent, now time.Time) {
	if k.obstacle != obstacle {
		longest := maxUnavailable * k.window
		if obstacle == Unauthorized {
			longest = maxUnauthorized * k.window
		}
		k.growing = doubling(k.window/twelfth, longest)
	}
	k.obstacle, k.shutAt = obstacle, now
	k.until = latest(k.until, sent.Add(k.growing.Step()))
}

// doubling is a time that doubles from first up to limit.
func doubling(first, limit time.Duration) wait.Backoff {
	return wait.Backoff{Duration: first, Factor: 2, Cap: limit, Steps: math.MaxInt}
}

// nextCall is when somebody who waits can be called, as far as that depends on time
// alone; zero when it does not.
func (k *breaker) nextCall(now time.Time) (next time.Time) {
	if k.isOpen() && !k.probing {
		next = k.until
	}
	if k.obstacle != Unauthorized && now.Before(k.earlyFrom()) {
		next = earliest(next, k.earlyFrom())
	}
	return next
}

// forget is until when it matters what is known, although nobody asks.
func (k *breaker) forget() time.Time {
	if !k.isOpen() {
		return time.Time{}
	}
	return k.until.Add(k.window)
}
