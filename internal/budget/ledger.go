package budget

import (
	"iter"
	"slices"
	"time"
)

// ledger is what was sent with one API key, whichever organization had it. So nobody
// gets an empty window by another name: who comes to a key comes to its ledger.
type ledger struct {
	content string  // of the key
	entries []entry // by at, ascending
	held    int     // slots of requests that have not ended
	proven  bool    // OpenCX has taken a request with the key
	users   int     // accounts that count it
}

// entry is slots whose requests ended at the same time.
type entry struct {
	at    time.Time
	slots int
	total int // slots of this entry and of all before it, also of forgotten ones
}

// add notes that the requests of so many slots reached OpenCX at the latest at.
func (l *ledger) add(at time.Time, slots int) {
	if slots <= 0 {
		return
	}
	i := len(l.entries)
	for i > 0 && l.entries[i-1].at.After(at) {
		i--
	}
	if i > 0 && l.entries[i-1].at.Equal(at) {
		i--
		l.entries[i].slots += slots
	} else {
		total := 0
		if i > 0 {
			total = l.entries[i-1].total
		} else if len(l.entries) > 0 {
			total = l.entries[0].total - l.entries[0].slots
		}
		l.entries = slices.Insert(l.entries, i, entry{at, slots, total})
	}
	for ; i < len(l.entries); i++ {
		l.entries[i].total += slots
	}
}

// addAll adds what other has.
func (l *ledger) addAll(other *ledger) {
	for _, r := range other.entries {
		l.add(r.at, r.slots)
	}
}

// forget drops what ended before then.
func (l *ledger) forget(then time.Time) {
	n := l.after(then)
	if l.entries = l.entries[n:]; len(l.entries) == 0 {
		l.entries = nil
	}
}

// after is the index of the first entry that ended after then.
func (l *ledger) after(then time.Time) int {
	n, _ := slices.BinarySearchFunc(l.entries, then, func(e entry, then time.Time) int {
		if e.at.After(then) {
			return 1
		}
		return -1
	})
	return n
}

// since is how many slots ended after then, or have not ended.
func (l *ledger) since(then time.Time) int {
	n := l.held
	if i := l.after(then); i < len(l.entries) {
		n += l.entries[len(l.entries)-1].total - l.entries[i].total + l.entries[i].slots
	}
	return n
}

func (l *ledger) empty() bool { return l.held == 0 && len(l.entries) == 0 }

// frees yields when the slots of ledgers become free again for a window, and how many at
// each time, in that order. Those whose requests are under way are taken to end now.
func frees(ledgers []*ledger, window time.Duration, now time.Time) iter.Seq2[time.Time, int] {
	return func(yield func(time.Time, int) bool) {
		held := entry{at: now}
		rest := make([][]entry, 0, len(ledgers))
		for _, l := range ledgers {
			held.slots += l.held
			rest = append(rest, l.entries[l.after(now.Add(-window)):])
		}
		if held.slots > 0 {
			rest = append(rest, []entry{held})
		}
		for {
			next := -1
			for i := range rest {
				if len(rest[i]) > 0 && (next < 0 || rest[i][0].at.Before(rest[next][0].at)) {
					next = i
				}
			}
			if next < 0 || !yield(rest[next][0].at.Add(window), rest[next][0].slots) {
				return
			}
			rest[next] = rest[next][1:]
		}
	}
}
