package history

import (
	"slices"
	"testing"
	"time"
)

func at(seconds int) time.Time { return time.Unix(int64(seconds), 0) }

func v(manifest int) Version { return Version{Manifest: manifest} }

func accepted(arrived, answered, version int) Request {
	return Request{At: at(arrived), AcceptedAt: at(answered), Version: v(version)}
}

func TestMostIn(t *testing.T) {
	for name, test := range map[string]struct {
		seconds []int
		want    int
	}{
		"none":                           {nil, 0},
		"one":                            {[]int{3}, 1},
		"the last leaves as one arrives": {[]int{0, 1, 2, 6}, 3},
		"in the middle of two windows":   {[]int{0, 4, 5, 6, 7, 8, 20}, 5},
		"at one time":                    {[]int{1, 1, 1}, 3},
	} {
		var times []time.Time
		for _, s := range test.seconds {
			times = append(times, at(s))
		}
		if got := MostIn(times, 6*time.Second); got != test.want {
			t.Errorf("%s: got %d, want %d", name, got, test.want)
		}
	}
}

func TestStaleAndRepeats(t *testing.T) {
	refused := Request{At: at(5), Version: v(9)}
	for name, test := range map[string]struct {
		requests       []Request
		stale, repeats int
	}{
		"in order":                       {requests: []Request{accepted(1, 2, 1), accepted(3, 4, 2)}},
		"an older one after a newer one": {requests: []Request{accepted(1, 2, 2), accepted(3, 4, 1)}, stale: 1},
		"before the newer was answered":  {requests: []Request{accepted(1, 4, 2), accepted(3, 5, 1)}},
		"the newer was refused":          {requests: []Request{refused, accepted(6, 7, 8)}},
		"twice":                          {requests: []Request{accepted(1, 2, 1), accepted(3, 4, 1), accepted(5, 6, 1)}, repeats: 2},
		"again after a refusal":          {requests: []Request{refused, accepted(6, 7, 9)}},
		"an older value of the Secret": {requests: []Request{
			{At: at(1), AcceptedAt: at(2), Version: Version{1, 2}}, {At: at(3), AcceptedAt: at(4), Version: Version{2, 1}},
		}, stale: 1},
	} {
		c := Contact{Requests: test.requests}
		if got := len(c.Stale()); got != test.stale {
			t.Errorf("%s: %d are stale, want %d", name, got, test.stale)
		}
		if got := len(c.Repeats()); got != test.repeats {
			t.Errorf("%s: %d repeat, want %d", name, got, test.repeats)
		}
	}
}

func TestUntrue(t *testing.T) {
	synced := func(more ...Sight) []Sight { return slices.Concat([]Sight{{At: at(3), Ready: true}}, more) }
	for name, test := range map[string]struct {
		contact Contact
		excused []Interval
		want    time.Duration
	}{
		"never sent and not Ready": {contact: Contact{Changes: []Change{{At: at(1), Version: v(1)}}}},
		"sent, then Ready": {contact: Contact{
			Changes: []Change{{At: at(1), Version: v(1)}}, Requests: []Request{accepted(2, 2, 1)}, Sights: synced(),
		}},
		"Ready and never sent": {contact: Contact{
			Changes: []Change{{At: at(1), Version: v(1)}}, Sights: synced(),
		}, want: 97 * time.Second},
		"an edit that is accepted four seconds later": {contact: Contact{
			Changes: []Change{{At: at(1), Version: v(1)}, {At: at(10), Version: v(2)}}, Requests: []Request{accepted(2, 2, 1), accepted(12, 14, 2)}, Sights: synced(),
		}, want: 4 * time.Second},
		"an edit that is not Ready six seconds later": {contact: Contact{
			Changes: []Change{{At: at(1), Version: v(1)}, {At: at(10), Version: v(2)}}, Requests: []Request{accepted(2, 2, 1)}, Sights: synced(Sight{At: at(16)}),
		}, want: 6 * time.Second},
		"one edit after the other": {contact: Contact{
			Changes:  []Change{{At: at(1), Version: v(1)}, {At: at(10), Version: v(2)}, {At: at(15), Version: v(3)}},
			Requests: []Request{accepted(2, 2, 1), accepted(16, 17, 2), accepted(18, 20, 3)}, Sights: synced(),
		}, want: 10 * time.Second},
		"the longest of two": {contact: Contact{
			Changes:  []Change{{At: at(1), Version: v(1)}, {At: at(10), Version: v(2)}, {At: at(30), Version: v(3)}},
			Requests: []Request{accepted(2, 2, 1), accepted(11, 12, 2), accepted(31, 35, 3)}, Sights: synced(),
		}, want: 5 * time.Second},
		"a refusal is no acceptance": {contact: Contact{
			Changes:  []Change{{At: at(1), Version: v(1)}, {At: at(10), Version: v(2)}},
			Requests: []Request{accepted(2, 2, 1), {At: at(11), Version: v(2)}}, Sights: synced(Sight{At: at(12)}),
		}, want: 2 * time.Second},
		"a deleted contact": {contact: Contact{
			Changes:  []Change{{At: at(1), Version: v(1)}, {At: at(10), Version: v(2)}, {At: at(13), Deleted: true}},
			Requests: []Request{accepted(2, 2, 1)}, Sights: synced(),
		}, want: 3 * time.Second},
		"while nobody could know": {contact: Contact{
			Changes:  []Change{{At: at(1), Version: v(1)}, {At: at(10), Version: v(2)}},
			Requests: []Request{accepted(2, 2, 1), accepted(41, 42, 2)}, Sights: synced(),
		}, excused: []Interval{{at(0), at(5)}, {at(12), at(39)}, {at(60), at(70)}}, want: 3 * time.Second},
		"an older state accepted over a newer one": {contact: Contact{
			Changes:  []Change{{At: at(1), Version: v(1)}, {At: at(10), Version: v(2)}},
			Requests: []Request{accepted(2, 2, 1), accepted(11, 11, 2), accepted(12, 12, 1), accepted(30, 30, 2)}, Sights: synced(),
		}, want: 18 * time.Second},
	} {
		if got := test.contact.Untrue(test.excused, at(100)); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}
