package drift

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// stage is a Sweeper whose OpenCX and contacts say what a test wants. The test holds its
// lock while it does not sleep.
type stage struct {
	*cluster
	mu      sync.Mutex
	t       *testing.T
	sweeper *Sweeper
	budget  *budget.Budget
	bell    bell
	start   time.Time

	// lists answers the nth list from 0 on; by default it is empty.
	lists func(n int, cursor string) (opencx.Page, error)
	// plan is what a sweep would be for; by default there are contacts.
	plan func(began, full time.Time) Plan
	// compare has a contact compared; by default it is at once, unless there is an error.
	compare      func(listing Listing)
	compareError error

	// others has those come for their slot who are not a sweep.
	others func()

	asked []asked
	told  []string // reasons of DriftChecked
}

// asked is a list that was asked for.
type asked struct {
	at     time.Duration // since the start
	after  time.Time
	cursor string
}

// onStage runs a test with a Sweeper, which begins with the test's first sleep.
func onStage(t *testing.T, test func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{cluster: newCluster(), t: t, bell: newBell(), start: time.Now()}
		s.lists = func(int, string) (opencx.Page, error) { return opencx.Page{}, nil }
		s.plan = func(time.Time, time.Time) Plan { return Plan{Contacts: true, Oldest: s.start} }
		s.compare = func(listing Listing) { listing.Done() }
		s.budget = budget.New(budget.Options{Limit: budget.DefaultLimit, CallTimeout: opencx.CallTimeout, Wake: func(asker budget.Asker) {
			if asker.Sweep {
				s.bell.ring(acme)
				return
			}
			go func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.others()
			}()
		}})
		s.sweeper = New(Options{
			Timing: DefaultTiming, OpenCX: s, Budget: s.budget, Organizations: s.organizations(DefaultTiming.Interval), Contacts: s, Live: s.cluster,
			Lease: func(time.Duration) error { return nil }, Wake: s.bell.ring,
			Told: func(types.NamespacedName) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.told = append(s.told, s.sweeper.TellsOf(acme).Condition.Reason)
			},
		})
		ctx, stop := context.WithCancel(t.Context())
		go func() {
			time.Sleep(time.Nanosecond)
			drive(ctx, s.sweeper, s.bell, func(time.Duration) {})
		}()
		defer stop()
		s.mu.Lock()
		defer s.mu.Unlock()
		test(s)
	})
}

// ListContacts implements Lister.
func (s *stage) ListContacts(_ context.Context, _ opencx.APIKey, after time.Time, cursor string) (opencx.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, asked{time.Since(s.start).Truncate(time.Second), after, cursor})
	return s.lists(len(s.asked)-1, cursor)
}

// Plan implements Contacts.
func (s *stage) Plan(_ context.Context, _ types.NamespacedName, began, full time.Time) (Plan, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plan(began, full), nil
}

// Compare implements Contacts.
func (s *stage) Compare(_ context.Context, _ types.NamespacedName, _ opencx.ListedContact, listing func() Listing) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.compareError != nil {
		return s.compareError
	}
	s.compare(listing())
	return nil
}

// sleepUntil lets time pass until so long after the start, and all happen that does by then.
func (s *stage) sleepUntil(d time.Duration) {
	s.mu.Unlock()
	defer s.mu.Lock()
	time.Sleep(time.Until(s.start.Add(d)))
	synctest.Wait()
}

// wantAskedAt says when lists were asked for.
func (s *stage) wantAskedAt(want ...time.Duration) {
	s.t.Helper()
	var got []time.Duration
	for _, a := range s.asked {
		got = append(got, a.at)
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("lists were asked for at %v, want %v", got, want)
	}
}

func (s *stage) wantTold(want ...string) {
	s.t.Helper()
	if !slices.Equal(s.told, want) {
		s.t.Errorf("told: %q, want %q", s.told, want)
	}
}

func answers(status int, retryAfter time.Duration) error {
	return &opencx.APIError{StatusCode: status, RetryAfter: retryAfter}
}

func minutes(numbers ...int) (all []time.Duration) {
	for _, n := range numbers {
		all = append(all, time.Duration(n)*time.Minute)
	}
	return all
}

func TestAnOrganizationIsSweptInEveryInterval(t *testing.T) {
	onStage(t, func(s *stage) {
		s.sleepUntil(35 * time.Minute)
		s.wantAskedAt(minutes(10, 20, 30)...)
		s.wantTold(v1alpha1.SweptReason, v1alpha1.SweptReason, v1alpha1.SweptReason)
	})
}

func TestWithoutContactsNothingIsSwept(t *testing.T) {
	onStage(t, func(s *stage) {
		s.plan = func(time.Time, time.Time) Plan { return Plan{} }
		s.sleepUntil(24 * time.Hour)
		s.wantAskedAt()
	})
}

func TestAKeyThatMayNotListIsTriedOnceADay(t *testing.T) {
	onStage(t, func(s *stage) {
		s.lists = func(int, string) (opencx.Page, error) { return opencx.Page{}, answers(http.StatusForbidden, 0) }
		s.sleepUntil(24 * time.Hour)
		s.wantAskedAt(minutes(10)...)
		s.wantTold(v1alpha1.ListForbiddenReason)
		s.sleepUntil(25 * time.Hour)
		s.wantAskedAt(minutes(10, 24*60+10)...)
		s.rotate()
		s.bell.ring(acme)
		s.sleepUntil(26 * time.Hour)
		s.wantAskedAt(minutes(10, 24*60+10, 25*60)...)
	})
}

func TestARefusedCursorBeginsTheSweepAnewOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		refusals int
		want     []string
		at       time.Duration // of the last
	}{
		"it is refused once":        {1, []string{"", "b", "", "b"}, 10 * time.Minute},
		"it is refused twice":       {2, []string{"", "b", "", "b", "", "b"}, 11 * time.Minute},
		"it is refused three times": {3, []string{"", "b", "", "b", "", "b", "", "b"}, 11 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(s *stage) {
				refusals := tt.refusals
				s.lists = func(_ int, cursor string) (opencx.Page, error) {
					if cursor == "" {
						return opencx.Page{Next: "b"}, nil
					}
					if refusals--; refusals >= 0 {
						return opencx.Page{}, answers(http.StatusBadRequest, 0)
					}
					return opencx.Page{}, nil
				}
				s.sleepUntil(15 * time.Minute)
				var got []string
				for _, a := range s.asked {
					got = append(got, a.cursor)
				}
				if last := s.asked[len(s.asked)-1].at; !slices.Equal(got, tt.want) || last != tt.at {
					t.Errorf("cursors: %q, the last at %s; want %q, %s", got, last, tt.want, tt.at)
				}
				s.wantTold(v1alpha1.SweptReason)
			})
		})
	}
}

func TestAFailureIsRetriedLaterAndLater(t *testing.T) {
	for name, failure := range map[string]error{
		"500":                       answers(http.StatusInternalServerError, 0),
		"503":                       answers(http.StatusServiceUnavailable, 0),
		"401":                       answers(http.StatusUnauthorized, 0),
		"400 for the first page":    answers(http.StatusBadRequest, 0),
		"no answer":                 &opencx.NoAnswerError{},
		"no page":                   &opencx.PageError{},
		"a request that is not one": errors.New("building request: no"),
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.lists = func(n int, _ string) (opencx.Page, error) {
					if n < 6 {
						return opencx.Page{}, failure
					}
					return opencx.Page{}, nil
				}
				s.sleepUntil(50 * time.Minute)
				s.wantAskedAt(minutes(10, 11, 13, 17, 25, 35, 45)...)
				s.wantTold(v1alpha1.SweepFailedReason, v1alpha1.SweepFailedReason, v1alpha1.SweepFailedReason, v1alpha1.SweepFailedReason, v1alpha1.SweptReason)
			})
		})
	}
}

func TestAFailureDoesNotLoseThePagesBefore(t *testing.T) {
	onStage(t, func(s *stage) {
		s.lists = func(n int, _ string) (opencx.Page, error) {
			return []opencx.Page{{Next: "b"}, {}, {}}[n], []error{nil, answers(http.StatusBadGateway, 0), nil}[n]
		}
		s.sleepUntil(15 * time.Minute)
		s.wantAskedAt(minutes(10, 10, 11)...)
		if cursor := s.asked[2].cursor; cursor != "b" {
			t.Errorf("the next request is for the page at %q", cursor)
		}
	})
}

func TestOpenCXIsGivenThePauseThatItWants(t *testing.T) {
	for name, tt := range map[string]struct {
		failure error
		want    []time.Duration
	}{
		"429": {answers(http.StatusTooManyRequests, 5*time.Minute), minutes(10, 15)},
		"503": {answers(http.StatusServiceUnavailable, 30*time.Minute), minutes(10, 40)},
		"503 with a shorter one than that after any failure": {answers(http.StatusServiceUnavailable, 20*time.Second), minutes(10, 11)},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.lists = func(n int, _ string) (opencx.Page, error) {
					if n == 0 {
						return opencx.Page{}, tt.failure
					}
					return opencx.Page{}, nil
				}
				s.sleepUntil(tt.want[1] + 5*time.Minute)
				s.wantAskedAt(tt.want...)
				s.wantTold(v1alpha1.SweptReason)
			})
		})
	}
}

func TestALimitOfTheListAloneDelaysNobodyElse(t *testing.T) {
	onStage(t, func(s *stage) {
		s.lists = func(int, string) (opencx.Page, error) { return opencx.Page{}, answers(http.StatusTooManyRequests, 0) }
		var askedAt time.Time
		var waited []time.Duration // when somebody had waited for a second and more
		s.others = func() {
			key, _ := s.sweeper.Organizations.Key(s.t.Context(), acme)
			slot, _ := s.budget.Take(budget.Ask{Organization: acme.String(), Limit: budget.DefaultLimit, Key: key.Key, Asker: budget.Asker{Name: "jane"}})
			if slot == nil {
				return
			}
			if wait := time.Since(askedAt); wait >= time.Second {
				waited = append(waited, time.Since(s.start).Truncate(time.Second))
			}
			slot.Accepted()
		}
		for second := range 2 * 60 * 60 / 5 {
			s.sleepUntil(time.Duration(second) * 5 * time.Second)
			askedAt = time.Now()
			s.others()
		}
		// The first 429 might be one of a limit that all share.
		if last := waited[len(waited)-1]; last > 15*time.Minute || len(s.asked) > 110 {
			t.Errorf("a contact waited until %s, for %d lists; want until 15 minutes, 110", last, len(s.asked))
		}
	})
}

func TestAListThatHasNoEndIsGivenUp(t *testing.T) {
	for name, tt := range map[string]struct {
		next  func(n int) string
		lists int // of each sweep
	}{
		"its cursor stays the same":    {func(int) string { return "b" }, 2},
		"its cursors are always other": {strconv.Itoa, mostPages},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.lists = func(n int, _ string) (opencx.Page, error) { return opencx.Page{Next: tt.next(n)}, nil }
				s.sleepUntil(10 * time.Hour)
				for n, a := range s.asked {
					if (a.cursor == "") != (n%tt.lists == 0) {
						t.Fatalf("list %d is for the page at %q", n, a.cursor)
					}
				}
				if len(s.told) == 0 || s.told[0] != v1alpha1.SweepFailedReason {
					t.Errorf("after %d lists, it is told %q", len(s.asked), s.told)
				}
			})
		})
	}
}

// unlisted are contacts that a sweep of what has changed never shows, and always new ones.
func unlisted(time.Time, time.Time) Plan {
	return Plan{Contacts: true, Oldest: time.Now(), Unlisted: true, Newest: time.Now()}
}

func TestSweepsOfAllContactsUseATwentiethOfTheLimit(t *testing.T) {
	const pages = 50
	for name, tt := range map[string]struct {
		lists func(n int, cursor string) (opencx.Page, error)
		done  bool // is called
		pages int  // of one sweep
	}{
		"all is well": {func(_ int, cursor string) (opencx.Page, error) {
			page, _ := strconv.Atoi(cursor)
			return opencx.Page{Next: []string{strconv.Itoa(page + 1), ""}[(page+1)/pages]}, nil
		}, true, pages},
		"the last page is refused": {func(_ int, cursor string) (opencx.Page, error) {
			page, _ := strconv.Atoi(cursor)
			if page+1 == pages {
				return opencx.Page{}, answers(http.StatusBadRequest, 0)
			}
			return opencx.Page{Next: strconv.Itoa(page + 1)}, nil
		}, true, 2 * pages},
		"the last page is not compared": {func(_ int, cursor string) (opencx.Page, error) {
			page, _ := strconv.Atoi(cursor)
			if page+1 == pages {
				return opencx.Page{Contacts: []opencx.ListedContact{{ID: "jane"}}}, nil
			}
			return opencx.Page{Next: strconv.Itoa(page + 1)}, nil
		}, false, pages},
		"the list has no end": {func(n int, _ string) (opencx.Page, error) { return opencx.Page{Next: strconv.Itoa(n)}, nil }, true, mostPages},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.plan = unlisted
				s.compare = func(listing Listing) {
					if tt.done {
						listing.Done()
					}
				}
				full := 0
				s.lists = func(n int, cursor string) (opencx.Page, error) {
					if s.asked[n].after.IsZero() {
						full++
						return tt.lists(n, cursor)
					}
					return opencx.Page{}, nil
				}
				const days = 4
				s.sleepUntil(days * 24 * time.Hour)
				most := days * 24 * 60 * budget.DefaultLimit.Requests / fullShare
				if full > most+tt.pages || full < tt.pages {
					t.Errorf("%d requests were for all contacts, want at most %d", full, most+tt.pages)
				}
				if sweeps := len(s.asked) - full + full/pages; sweeps < days*24*2 {
					t.Errorf("there were %d sweeps", sweeps)
				}
			})
		})
	}
}

func TestALargeSweepOfAllContactsIsNotRepeatedAtOnce(t *testing.T) {
	const pages = 9000
	onStage(t, func(s *stage) {
		s.plan = unlisted
		full := 0
		s.lists = func(n int, cursor string) (opencx.Page, error) {
			page, _ := strconv.Atoi(cursor)
			if !s.asked[n].after.IsZero() {
				return opencx.Page{}, nil
			}
			if full++; page+1 == pages {
				return opencx.Page{}, nil
			}
			return opencx.Page{Next: strconv.Itoa(page + 1)}, nil
		}
		s.sleepUntil(30 * time.Hour) // 9000 requests of 100 a minute, twenty times
		if full != pages {
			t.Errorf("%d requests were for all contacts, want %d", full, pages)
		}
		s.sleepUntil(35 * time.Hour)
		if full != 2*pages {
			t.Errorf("%d requests were for all contacts, want %d", full, 2*pages)
		}
	})
}

func TestALargeSweepOfAllContactsThatIsAbandonedIsNotRepeatedAtOnce(t *testing.T) {
	onStage(t, func(s *stage) {
		s.plan = unlisted
		full := 0
		s.lists = func(n int, _ string) (opencx.Page, error) {
			if !s.asked[n].after.IsZero() {
				return opencx.Page{}, nil
			}
			full++
			return opencx.Page{Next: strconv.Itoa(full)}, nil
		}
		suspend := func(is bool) {
			s.change(func(o *v1alpha1.OpenCXOrganization) { o.Spec.Suspend = is })
			s.bell.ring(acme)
		}
		s.sleepUntil(20 * time.Minute)
		suspend(true)
		s.sleepUntil(21 * time.Minute)
		before := full
		suspend(false)
		s.sleepUntil(2 * time.Hour)
		if before < 500 || full != before {
			t.Errorf("%d requests were for all contacts, and %d more soon after they were abandoned", before, full-before)
		}
		s.sleepUntil(10 * time.Hour) // more than twenty times the ten minutes
		if full == before {
			t.Error("they are never listed again")
		}
	})
}

func TestAllContactsAreListedWhenNobodyKnowsSinceWhen(t *testing.T) {
	for name, plan := range map[string]Plan{
		"none was ever sent":                   {Contacts: true, Unlisted: true},
		"none was ever sent, and all are seen": {Contacts: true},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.plan = func(time.Time, time.Time) Plan { return plan }
				s.lists = func(n int, _ string) (opencx.Page, error) {
					if n < 3 {
						return opencx.Page{}, answers(http.StatusBadRequest, 0)
					}
					return opencx.Page{}, nil
				}
				s.sleepUntil(45 * time.Minute)
				for n, a := range s.asked {
					if a.after.IsZero() != (n <= 3) {
						t.Errorf("list %d of %d is for what changed after %s", n, len(s.asked), a.after)
					}
				}
				if len(s.asked) < 4 {
					t.Errorf("there are %d lists", len(s.asked))
				}
			})
		})
	}
}

func TestContactsThatNoSweepShowsAreLookedForOnceADay(t *testing.T) {
	onStage(t, func(s *stage) {
		applied := s.start.Add(time.Hour)
		s.plan = func(_, full time.Time) Plan {
			plan := Plan{Contacts: true, Oldest: s.start, Unlisted: time.Now().After(applied)}
			if applied.After(full) {
				plan.Newest = applied
			}
			return plan
		}
		settled := time.Hour + DefaultTiming.Settling
		s.sleepUntil(50 * time.Hour)
		var full []time.Duration
		for _, a := range s.asked {
			if a.after.IsZero() {
				full = append(full, a.at)
			}
		}
		if want := []time.Duration{settled, settled + 24*time.Hour, settled + 48*time.Hour}; !slices.Equal(full, want) {
			t.Errorf("all contacts were listed at %v, want %v", full, want)
		}
	})
}

func TestTheNextSweepBeginsBeforeTheDateOfThisOne(t *testing.T) {
	began := 10 * time.Minute
	for name, tt := range map[string]struct {
		date, want time.Duration // since the start; 0 is none
	}{
		"no date":                        {0, began - 2*time.Minute},
		"the same clock":                 {began, began - 2*time.Minute},
		"a clock that is behind":         {began - 7*time.Minute, began - 9*time.Minute},
		"a clock that is ahead":          {began + 5*time.Minute, began + 3*time.Minute},
		"a clock that is not believable": {began + 5*time.Minute + 2*time.Second, began - 2*time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.lists = func(int, string) (opencx.Page, error) {
					if tt.date == 0 {
						return opencx.Page{}, nil
					}
					return opencx.Page{Date: s.start.Add(tt.date)}, nil
				}
				s.sleepUntil(25 * time.Minute)
				if got := s.asked[1].after.Sub(s.start); got != tt.want {
					t.Errorf("the next sweep asks for what changed after %s, want %s", got, tt.want)
				}
			})
		})
	}
}

func TestASweepFollowsTheOneOfTheProcessBefore(t *testing.T) {
	ago := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: time.Now().Add(-d)} }
	for name, tt := range map[string]struct {
		lastTime time.Duration // ago
		want     time.Duration
	}{
		"a moment ago":                 {0, 10 * time.Minute},
		"a while ago":                  {3 * time.Minute, 7 * time.Minute},
		"long ago":                     {3 * time.Hour, 0},
		"by a clock that was ahead":    {-3 * time.Hour, 0},
		"by one that was hardly ahead": {-time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.change(func(o *v1alpha1.OpenCXOrganization) {
					o.Status.Sweep = &v1alpha1.SweepStatus{LastTime: ago(tt.lastTime), Watermark: ago(time.Hour)}
				})
				s.sleepUntil(15 * time.Minute)
				if first := s.asked[0]; first.at != tt.want || !first.after.Equal(s.start.Add(-time.Hour)) {
					t.Errorf("the first list is at %s of what changed after %s, want %s", first.at, first.after, tt.want)
				}
			})
		})
	}
}

func TestThePatienceWithAPageHasAnEnd(t *testing.T) {
	onStage(t, func(s *stage) {
		s.lists = func(int, string) (opencx.Page, error) {
			return opencx.Page{Contacts: []opencx.ListedContact{{ID: "jane"}}}, nil
		}
		var late Listing
		s.compare = func(listing Listing) {
			if len(s.asked) == 1 {
				late = listing
				return
			}
			listing.Done()
		}
		s.sleepUntil(21*time.Minute - time.Second)
		s.wantTold()
		s.sleepUntil(22 * time.Minute)
		s.wantAskedAt(minutes(10, 21)...)
		if !s.asked[1].after.Equal(s.asked[0].after) {
			t.Errorf("the second sweep asks for what changed after %s, the first for %s", s.asked[1].after, s.asked[0].after)
		}
		late.Done()
		s.sleepUntil(32 * time.Minute)
		s.wantAskedAt(minutes(10, 21, 31)...)
		s.wantTold(v1alpha1.SweptReason, v1alpha1.SweptReason)
	})
}

func TestAPageIsReleasedWhenNobodyHasAnythingOfIt(t *testing.T) {
	onStage(t, func(s *stage) {
		released := 0
		s.lists = func(n int, _ string) (opencx.Page, error) {
			// The second has no end, and the third is compared by nobody.
			return opencx.Page{Contacts: []opencx.ListedContact{{ID: "jane"}, {ID: "john"}}, Next: []string{"b", "b", ""}[n], Release: func() { released++ }}, nil
		}
		var listings []Listing
		s.compare = func(listing Listing) { listings = append(listings, listing) }
		s.sleepUntil(10*time.Minute + time.Second)
		for i, listing := range listings {
			if released != 0 {
				t.Errorf("a page of which %d of %d are compared is released", i, len(listings))
			}
			listing.Done()
		}
		if released != 1 || len(listings) != 2 {
			t.Errorf("a page of %d that are all compared was released %d times", len(listings), released)
		}
		s.compareError = errors.New("the cache is not ready")
		s.sleepUntil(10*time.Minute + 2*time.Second)
		s.wantAskedAt(10*time.Minute, 10*time.Minute+time.Second)
		if released != 2 {
			t.Errorf("a page of a list that has no end, and the one before it, were released %d times", released)
		}
		s.sleepUntil(11*time.Minute + 30*time.Second)
		if s.wantAskedAt(10*time.Minute, 10*time.Minute+time.Second, 11*time.Minute+time.Second); released != 3 {
			t.Errorf("three pages were released %d times", released)
		}
	})
}

func TestAPageThatNobodyComparesIsAskedForLater(t *testing.T) {
	onStage(t, func(s *stage) {
		s.lists = func(int, string) (opencx.Page, error) {
			return opencx.Page{Contacts: []opencx.ListedContact{{ID: "jane"}}}, nil
		}
		s.compareError = errors.New("the cache is not ready")
		s.sleepUntil(12*time.Minute + time.Second)
		s.wantAskedAt(minutes(10, 11, 12)...)
		s.compareError = nil
		s.sleepUntil(14 * time.Minute)
		s.wantAskedAt(minutes(10, 11, 12, 13)...)
		s.wantTold(v1alpha1.SweptReason)
	})
}

func TestWhatIsNotSweptGivesUpItsPlace(t *testing.T) {
	for name, change := range map[string]func(c *cluster){
		"suspended": func(c *cluster) { c.change(func(o *v1alpha1.OpenCXOrganization) { o.Spec.Suspend = true }) },
		"without drift checks": func(c *cluster) {
			c.change(func(o *v1alpha1.OpenCXOrganization) { o.Spec.DriftCheckInterval = &metav1.Duration{} })
		},
		"deleted": (*cluster).remove,
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(s *stage) {
				s.change(func(o *v1alpha1.OpenCXOrganization) {
					o.Spec.RateLimit = &v1alpha1.RateLimit{Requests: 1, Window: metav1.Duration{Duration: time.Minute}}
				})
				key, _ := s.sweeper.Organizations.Key(s.t.Context(), acme)
				slot, _ := s.budget.Take(budget.Ask{
					Organization: acme.String(), Limit: budget.Limit{Requests: 1, Window: time.Minute}, Key: key.Key, Asker: budget.Asker{Name: "jane"},
				})
				s.sleepUntil(15 * time.Minute)
				if state := s.budget.Look(acme.String()); state.Waiting[budget.Resync] != 1 || !state.DrainsAt.IsZero() {
					t.Errorf("%d sweeps wait, want 1; no contact does, and the last one is served at %s", state.Waiting[budget.Resync], state.DrainsAt)
				}
				change(s.cluster)
				s.bell.ring(acme)
				s.sleepUntil(16 * time.Minute)
				if waiting := s.budget.Look(acme.String()).Waiting[budget.Resync]; waiting != 0 {
					t.Errorf("%d sweeps wait, want none", waiting)
				}
				slot.Accepted()
				s.sleepUntil(time.Hour)
				s.wantAskedAt()
			})
		})
	}
}

func seriesOf(counts *prometheus.CounterVec) int {
	series := make(chan prometheus.Metric, 100)
	counts.Collect(series)
	return len(series)
}

func TestTheCountsOfADeletedOrganizationEnd(t *testing.T) {
	all := map[string]*prometheus.CounterVec{"sweeps": sweepsTotal, "requests": requestsTotal, "contacts": contactsSeen, "found": foundTotal, "repaired": repairedTotal}
	onStage(t, func(s *stage) {
		CountFound(acme.String())
		CountRepaired(acme.String())
		CountFound("crm/other")
		s.sleepUntil(15 * time.Minute)
		series := map[string]int{}
		for name, counts := range all {
			series[name] = seriesOf(counts)
		}
		if got, want := fmt.Sprint(series), "map[contacts:1 found:2 repaired:1 requests:1 sweeps:1]"; got != want {
			t.Errorf("series: %s, want %s", got, want)
		}
		s.remove()
		s.bell.ring(acme)
		s.sleepUntil(16 * time.Minute)
		for name, counts := range all {
			series[name] = seriesOf(counts)
		}
		if got, want := fmt.Sprint(series), "map[contacts:0 found:1 repaired:0 requests:0 sweeps:0]"; got != want {
			t.Errorf("series that are left: %s, want %s", got, want)
		}
		forgetCounts("crm/other")
	})
}
