package budget

import (
	"slices"
	"time"
)

// slotsUntil are slots that become free at the same time.
type slotsUntil struct {
	Until time.Time
	Slots int
}

// usedSlots are the slots of a simulated account, until they are free again.
type usedSlots struct {
	runs  []slotsUntil // by Until, ascending
	count int
}

// add notes that slots are not free again before until.
func (u *usedSlots) add(until time.Time, slots int) {
	i, found := slices.BinarySearchFunc(u.runs, until, func(r slotsUntil, until time.Time) int { return r.Until.Compare(until) })
	if found {
		u.runs[i].Slots += slots
	} else {
		u.runs = slices.Insert(u.runs, i, slotsUntil{until, slots})
	}
	u.count += slots
}

// prune forgets the slots that are free again.
func (u *usedSlots) prune(now time.Time) {
	for len(u.runs) > 0 && !u.runs[0].Until.After(now) {
		u.count -= u.runs[0].Slots
		u.runs = u.runs[1:]
	}
}

// first is when the next slot becomes free. There must be one.
func (u *usedSlots) first() time.Time { return u.runs[0].Until }
