package drift

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/organization"
)

// world is an OpenCX with people who edit contacts in it, the manifests of some of them,
// and a process in between that may be killed at any moment. Its time is that of a
// synctest bubble.
type world struct {
	t         *testing.T
	options   opencxtest.Options
	simulator *opencxtest.Server
	cluster   *cluster
	start     time.Time
	// unrest says that things go wrong: requests, writes, and comparisons that take long.
	unrest bool

	mu       sync.Mutex
	random   *rand.Rand
	process  *process
	kills    int
	contacts []*contact
	others   []string // IDs of contacts that no manifest declares
	lists    int
	// beginsAt is when the next sweep begins, and takes how long OpenCX takes for its first
	// page, when both are known.
	beginsAt time.Time
	takes    time.Duration
	// onList is told of each list when it arrives, and how long OpenCX takes for it.
	// onStored is told when a watermark is stored, and onResult when a sweep has ended. All
	// are called with the lock.
	onList             func(takes time.Duration)
	onStored, onResult func()
	onMark             int // edits at the very watermark of a sweep
}

// slowest is the longest time that OpenCX takes for a page.
const slowest = 9 * time.Second

func newWorld(t *testing.T, seed uint64, options opencxtest.Options) *world {
	options.Limit, options.MinLatency = -1, slowest // the limit is kept, but not across a kill
	return &world{
		t: t, options: options, simulator: opencxtest.New(options), cluster: newCluster(), start: time.Now(),
		random: rand.New(rand.NewPCG(seed, 0)),
	}
}

// process is one that sweeps and sends. What it knows besides what is stored goes with it.
type process struct {
	*world
	sweeper       *Sweeper
	budget        *budget.Budget
	organizations *organization.Organizations
	stop          context.CancelFunc
	bell          bell
	known         map[*contact]*known
}

// known is what a process keeps of a contact.
type known struct {
	busy, again  bool
	listing      *Listing
	attemptEnded time.Time
}

// begin starts a process, which looks at everything, in place of the one that it kills.
func (w *world) begin() {
	ctx, stop := context.WithCancel(w.t.Context())
	p := &process{world: w, stop: stop, bell: newBell(), known: map[*contact]*known{}}
	p.organizations = w.cluster.organizations(DefaultTiming.Interval)
	p.budget = budget.New(budget.Options{Limit: budget.DefaultLimit, CallTimeout: opencx.CallTimeout, MaxInFlight: 10, Wake: func(asker budget.Asker) {
		if asker.Sweep {
			p.bell.ring(acme)
			return
		}
		p.wakeIn(w.named(asker.Name), time.Millisecond)
	}})
	p.sweeper = New(Options{
		Timing: DefaultTiming, OpenCX: p, Budget: p.budget, Organizations: p.organizations, Contacts: p, Live: w.cluster,
		Lease: func(time.Duration) error { return ctx.Err() }, Wake: p.bell.ring, Told: p.tell,
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.process != nil {
		w.process.stop()
		w.kills++
	}
	w.process = p
	for _, c := range w.contacts {
		p.known[c] = &known{}
		p.wakeIn(c, c.delay())
	}
	go drive(ctx, p.sweeper, p.bell, p.looked)
}

// end stops the process, and waits for what is under way.
func (w *world) end() {
	w.mu.Lock()
	w.process.stop()
	w.process = nil
	w.mu.Unlock()
	time.Sleep(20 * time.Minute)
}

func (w *world) named(id string) *contact {
	return w.contacts[slices.IndexFunc(w.contacts, func(c *contact) bool { return c.id == id })]
}

// looked notes when the process looks at the organization again.
func (p *process) looked(again time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.beginsAt = time.Now().Add(again); p.onResult != nil && again > time.Minute {
		p.onResult()
	}
}

// tell has what is told written into the organization's status, a moment later.
func (p *process) tell(types.NamespacedName) {
	p.mu.Lock()
	delay := time.Duration(p.random.Int64N(int64(10 * time.Second)))
	p.mu.Unlock()
	time.AfterFunc(delay, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if swept := p.sweeper.TellsOf(acme).Sweep; p.process == p && swept != nil {
			p.cluster.change(func(o *v1alpha1.OpenCXOrganization) { o.Status.Sweep = swept.DeepCopy() })
			if p.onStored != nil {
				p.onStored()
			}
		}
	})
}

// ListContacts implements Lister.
func (p *process) ListContacts(ctx context.Context, _ opencx.APIKey, updatedAfter time.Time, cursor string) (page opencx.Page, err error) {
	p.mu.Lock()
	p.lists++
	takes := time.Duration(p.random.Int64N(int64(slowest)))
	if p.random.IntN(2) == 0 {
		takes /= 50
	}
	if cursor == "" && p.takes > 0 {
		takes, p.takes = p.takes, 0
	}
	if p.onList != nil {
		p.onList(takes)
	}
	p.mu.Unlock()
	query := url.Values{}
	if !updatedAfter.IsZero() {
		query.Set("updated_after", updatedAfter.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	answer, came := p.serve(ctx, takes, http.MethodGet, "/contacts?"+query.Encode(), nil)
	page, err = pageOf(answer, came)
	if err == nil && cursor == "" {
		p.mu.Lock()
		for _, c := range p.contacts {
			if held, _ := p.simulator.Contact(c.id); held.UpdatedAt.Equal(page.Date.Add(-DefaultTiming.Overlap)) {
				p.onMark++
			}
		}
		p.mu.Unlock()
	}
	return page, err
}

// serve has the simulator answer, which takes some time. came is false when the answer has
// not come as a whole.
func (w *world) serve(ctx context.Context, takes time.Duration, method, target string, body []byte) (answer *httptest.ResponseRecorder, came bool) {
	// The simulator takes its latency, or until nobody waits any more.
	ctx, cancel := context.WithTimeout(ctx, takes)
	defer cancel()
	answer = httptest.NewRecorder()
	defer func() {
		failure := recover()
		if err, _ := failure.(error); failure != nil && !errors.Is(err, http.ErrAbortHandler) {
			panic(failure)
		}
	}()
	request := httptest.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	request.Header.Set("Authorization", "Bearer ocx_key")
	request.Header.Set("Content-Type", "application/json")
	w.simulator.ServeHTTP(answer, request)
	return answer, true
}

// pageOf reads an answer as the client does.
func pageOf(answer *httptest.ResponseRecorder, came bool) (page opencx.Page, err error) {
	switch {
	case !came && answer.Body.Len() > 0:
		return page, &opencx.PageError{}
	case !came:
		return page, &opencx.NoAnswerError{}
	case answer.Code >= 300:
		seconds, _ := strconv.Atoi(answer.Header().Get("Retry-After"))
		return page, &opencx.APIError{StatusCode: answer.Code, RetryAfter: time.Duration(seconds) * time.Second}
	}
	var listed struct {
		Items []struct {
			ID         string            `json:"id"`
			Email      *string           `json:"email"`
			Phone      *string           `json:"phone_number"`
			Name       *string           `json:"name"`
			CustomData map[string]string `json:"custom_data"`
			UpdatedAt  time.Time         `json:"updated_at"`
		} `json:"items"`
		Next string `json:"next"`
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &listed); err != nil {
		return page, fmt.Errorf("reading a page: %w", err)
	}
	for _, item := range listed.Items {
		page.Contacts = append(page.Contacts, opencx.ListedContact{
			ID: item.ID, Email: item.Email, Phone: item.Phone, Name: item.Name, CustomData: opencx.NewCustomData(item.CustomData), UpdatedAt: item.UpdatedAt,
		})
	}
	page.Next = listed.Next
	page.Date, err = http.ParseTime(answer.Header().Get("Date"))
	return page, err
}
