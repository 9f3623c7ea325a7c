package budget

import (
	"slices"
	"time"
)

// UsedSlots are slots that are free again at the same time.
type UsedSlots struct {
	Until time.Time `json:"until"`
	Slots int       `json:"slots"`
}

// usedSlots are the slots of requests that have ended, until they are free again.
type usedSlots struct {
	runs  []UsedSlots // by Until, ascending
	count int
}

// add notes that slots are not free again before until.
func (u *usedSlots) add(until time.Time, slots int) {
	if slots <= 0 {
		return
	}
	i, found := slices.BinarySearchFunc(u.runs, until, func(run UsedSlots, until time.Time) int { return run.Until.Compare(until) })
	if found {
		u.runs[i].Slots += slots
	} else {
		u.runs = slices.Insert(u.runs, i, UsedSlots{until, slots})
	}
	u.count += slots
}

func (u *usedSlots) addAll(other *usedSlots) {
	for _, run := range other.runs {
		u.add(run.Until, run.Slots)
	}
}

// prune forgets the slots that are free again.
func (u *usedSlots) prune(now time.Time) {
	for len(u.runs) > 0 && !u.runs[0].Until.After(now) {
		u.count -= u.runs[0].Slots
		u.runs = u.runs[1:]
	}
}

// first and last are when the next slot becomes free, and all are. There must be
// one.
func (u *usedSlots) first() time.Time { return u.runs[0].Until }
func (u *usedSlots) last() time.Time  { return u.runs[len(u.runs)-1].Until }

// at is when slot number i becomes free, counted from 0 in that order.
func (u *usedSlots) at(i int) time.Time {
	for _, run := range u.runs {
		if i -= run.Slots; i < 0 {
			return run.Until
		}
	}
	return u.last()
}
