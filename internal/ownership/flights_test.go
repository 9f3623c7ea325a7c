package ownership

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func TestOneRequestOfAContactIDIsUnderWayAtATime(t *testing.T) {
	const timeout = 10 * time.Second
	for name, tt := range map[string]struct {
		until time.Duration // after the begin; 0 for a request that was answered
		after time.Duration // the end comes this long after the begin
		want  time.Duration // when the next may begin
	}{
		"it was answered":                                {0, time.Second, time.Second},
		"it was not sent after all":                      {0, 0, 0},
		"it got no answer and may still arrive":          {timeout, time.Second, timeout},
		"it got no answer until it could not come":       {timeout, timeout, timeout},
		"its end was noticed when it could come no more": {timeout, 2 * timeout, 2 * timeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				type wake struct {
					name  string
					after time.Duration
				}
				var woken []wake
				flights := NewFlights(func(name types.NamespacedName) { woken = append(woken, wake{name.Name, time.Since(begin)}) })
				first, second := types.NamespacedName{Name: "first"}, types.NamespacedName{Name: "second"}
				flight, ok := flights.Begin(jane, first)
				if !ok {
					t.Fatal("the first request may not begin")
				}
				if _, ok := flights.Begin(jane, second); ok {
					t.Error("a second request may begin")
				}
				if other, ok := flights.Begin(Claim{other, "jane"}, second); !ok {
					t.Error("a request of another organization may not begin")
				} else {
					other.End()
				}

				time.Sleep(tt.after)
				if tt.until > 0 {
					flight.Until = begin.Add(tt.until)
				}
				flight.End()
				if tt.want > tt.after {
					if _, ok := flights.Begin(jane, first); ok {
						t.Error("another request may begin while the first may still arrive")
					}
				}
				time.Sleep(tt.want - tt.after)
				synctest.Wait()
				want := []wake{{"second", tt.want}}
				if tt.want > tt.after {
					want = append(want, wake{"first", tt.want})
				}
				if !reflect.DeepEqual(woken, want) {
					t.Errorf("woken are %v, want %v", woken, want)
				}
				again, ok := flights.Begin(jane, second)
				if !ok {
					t.Fatal("the next request may not begin")
				}
				again.End()
			})
		})
	}
}
