package drift

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/organization"
)

var crm = types.NamespacedName{Namespace: "crm", Name: "acme"}

// one is an API server, and its cache, with one organization of that name and its key.
type one struct{ client.Reader }

func (one) Get(_ context.Context, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	into.SetNamespace(name.Namespace)
	into.SetName(name.Name)
	into.SetUID("uid")
	into.SetResourceVersion("1")
	if secret, is := into.(*corev1.Secret); is {
		secret.Data = map[string][]byte{"apiKey": []byte("ocx_live_0")}
	}
	return nil
}

func (one) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

// lister answers every request with an error.
type lister struct {
	err      error
	requests int
}

func (l *lister) ListContacts(context.Context, opencx.APIKey, time.Time, string) (opencx.Page, error) {
	l.requests++
	return opencx.Page{}, l.err
}

// office is a sweeper of one organization, and the budget of that.
type office struct {
	*Sweeper
	lister *lister
	woken  bool
	next   time.Time
}

func newOffice(err error) *office {
	o := &office{lister: &lister{err: err}}
	limit := budget.Limit{Requests: 100, Window: time.Minute}
	o.Sweeper = New(Options{
		Timing: DefaultTiming, OpenCX: o.lister, Contacts: plans{Plan{Contacts: true}}, Live: one{},
		Budget:        budget.New(budget.Options{Limit: limit, CallTimeout: opencx.CallTimeout, Wake: func(asker budget.Asker) { o.woken = o.woken || asker.Sweep }}),
		Organizations: organization.New(organization.Options{Cache: one{}, Live: one{}, Limit: limit, Share: 1, DriftCheckInterval: 10 * time.Minute}),
		Lease:         func(time.Duration) error { return nil },
		Wake:          func(types.NamespacedName) { o.woken = true },
		Told:          func(types.NamespacedName) {},
	})
	return o
}

// run has the sweeper do what it does in a time.
func (o *office) run(t *testing.T, during time.Duration) {
	t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		synctest.Wait()
		if !o.woken && (o.next.IsZero() || time.Now().Before(o.next)) {
			continue
		}
		o.woken, o.next = false, time.Time{}
		result, err := o.Reconcile(t.Context(), ctrl.Request{NamespacedName: crm})
		if err != nil {
			t.Fatal(err)
		}
		if result.RequeueAfter > 0 {
			o.next = time.Now().Add(result.RequeueAfter)
		}
	}
}

// ask asks for the slot of an edit.
func (o *office) ask(t *testing.T) (*budget.Slot, budget.Wait) {
	t.Helper()
	key, err := o.Organizations.Key(t.Context(), crm)
	if err != nil {
		t.Fatal(err)
	}
	return o.Budget.Take(budget.Ask{Organization: crm.String(), Limit: o.Organizations.Limit, Key: key.Key, Asker: budget.Asker{Namespace: "shop", Name: "jane"}})
}

// sync has OpenCX accept an edit.
func (o *office) sync(t *testing.T) {
	t.Helper()
	slot, wait := o.ask(t)
	if slot == nil {
		t.Fatalf("an edit waits until %s: %s", wait.At, wait.Obstacle)
	}
	slot.Accepted()
}

func TestAListThatIsLimitedByItselfDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(&opencx.APIError{StatusCode: http.StatusTooManyRequests, RetryAfter: time.Minute})
		for range 60 {
			o.sync(t)
		}
		o.woken = true
		o.run(t, 59*time.Second) // that is for all, as far as anybody knows
		o.ask(t)
		time.Sleep(2 * time.Second)
		o.sync(t)
		requests := o.lister.requests
		for range 120 {
			o.run(t, 5*time.Second)
			o.sync(t)
		}
		if got := o.lister.requests - requests; got > 11 {
			t.Errorf("the list was asked for %d times in ten minutes, want once in a minute", got)
		}
	})
}

func TestAPauseThatOpenCXWantsIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(&opencx.APIError{StatusCode: http.StatusServiceUnavailable, RetryAfter: 30 * time.Minute})
		o.woken = true
		o.run(t, 29*time.Minute)
		if o.lister.requests != 1 {
			t.Errorf("%d requests in a pause of half an hour", o.lister.requests)
		}
		o.run(t, 2*time.Minute)
		if o.lister.requests != 2 {
			t.Errorf("%d requests after it, want 2", o.lister.requests)
		}
	})
}
