//go:build faults

package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/pprof/profile"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

// soakFor is what make soak sets.
var soakFor = flag.Duration("soak", 10*time.Minute, "how long the soak takes")

// soakContacts is how many contacts there are at most. What grows with their number must
// not grow with time.
const soakContacts = 300

// weight is what a process has, at a moment without faults or changes, after garbage was
// collected.
type weight struct {
	at                                        time.Duration
	goroutines, heap, sockets, timers, queued float64 // heap in bytes
}

// weighed are the parts of a weight, and how much more may be chance.
var weighed = []struct {
	name  string
	of    func(weight) float64
	slack float64
}{
	{"goroutines", func(w weight) float64 { return w.goroutines }, 10},
	{"heap (MiB)", func(w weight) float64 { return w.heap / (1 << 20) }, 2},
	{"sockets", func(w weight) float64 { return w.sockets }, 5},
	{"timers", func(w weight) float64 { return w.timers }, 50},
	{"queued", func(w weight) float64 { return w.queued }, 5},
}

// weigh measures a replica with the profiler at an address.
func (r *replica) weigh(ctx context.Context, profiler string) (now weight) {
	GinkgoHelper()
	heap, err := profile.Parse(bytes.NewReader(fetch(ctx, "http://"+profiler+"/debug/pprof/heap?gc=1")))
	Expect(err).NotTo(HaveOccurred())
	objects := slices.IndexFunc(heap.SampleType, func(t *profile.ValueType) bool { return t.Type == "inuse_objects" })
	for _, sample := range heap.Sample {
		if slices.ContainsFunc(sample.Location, func(l *profile.Location) bool {
			return slices.ContainsFunc(l.Line, func(l profile.Line) bool {
				return strings.HasPrefix(l.Function.Name, "time.New") || l.Function.Name == "time.AfterFunc"
			})
		}) {
			now.timers += float64(sample.Value[objects])
		}
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(r.scrape(ctx)))
	Expect(err).NotTo(HaveOccurred())
	for name, into := range map[string]*float64{
		"go_goroutines": &now.goroutines, "go_memstats_heap_alloc_bytes": &now.heap, "workqueue_depth": &now.queued,
	} {
		Expect(families).To(HaveKey(name))
		for _, metric := range families[name].GetMetric() {
			*into += metric.GetGauge().GetValue()
		}
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", r.Pid()))
	Expect(err).NotTo(HaveOccurred())
	for _, file := range files {
		if target, _ := os.Readlink(file); strings.HasPrefix(target, "socket:") { // or it is closed by now
			now.sockets++
		}
	}
	return now
}

// troubles are what happens to a world, each for a while.
var troubles = []struct {
	name  string
	begin func(SpecContext, *world, *rand.Rand) (end func())
}{
	{"none", func(SpecContext, *world, *rand.Rand) func() { return func() {} }},
	{"OpenCX misbehaves", func(_ SpecContext, w *world, random *rand.Rand) func() {
		unheard := w.misbehave(random, 20)
		return func() {
			w.simulator.ClearFaults()
			w.excusedRepeats += unheard()
		}
	}},
	{"OpenCX is down", func(_ SpecContext, w *world, _ *rand.Rand) func() {
		w.network.Stop()
		w.excusedRepeats += inFlight
		return func() { Expect(w.network.Start()).To(Succeed()) }
	}},
	{"connections are reset", func(ctx SpecContext, w *world, _ *rand.Rand) func() {
		_, err := w.network.Toxics.AddToxicJson(strings.NewReader(`{"name":"soak","type":"reset_peer","stream":"downstream","toxicity":0.5,"attributes":{"timeout":20}}`))
		Expect(err).NotTo(HaveOccurred())
		before := w.accepted()
		return func() {
			Expect(w.network.Toxics.RemoveToxic(ctx, "soak")).To(Succeed())
			w.excusedRepeats += w.accepted() - before + inFlight // of any of them the answer may be lost
		}
	}},
	{"the API server refuses", func(_ SpecContext, w *world, _ *rand.Rand) func() {
		end := w.excuse()
		w.api.Inject(func(r *http.Request) operatortest.APIFault {
			if r.Method == http.MethodGet || strings.Contains(r.URL.Path, "/leases/") {
				return operatortest.APIFault{Delay: time.Duration(rand.IntN(100)) * time.Millisecond} //nolint:gosec // of no consequence
			}
			if rand.IntN(5) > 0 { //nolint:gosec // likewise; random is for one at a time
				return operatortest.APIFault{}
			}
			return operatortest.APIFault{Status: &metav1.Status{
				Status: metav1.StatusFailure, Code: http.StatusTooManyRequests, Reason: metav1.StatusReasonTooManyRequests, Details: &metav1.StatusDetails{RetryAfterSeconds: 1},
			}}
		})
		return func() {
			w.api.ClearFaults()
			end()
		}
	}},
	{"the API server is away", func(_ SpecContext, w *world, _ *rand.Rand) func() {
		// For less long than a lease lasts, without which the process would end.
		end := w.excuse()
		w.api.Inject(func(*http.Request) operatortest.APIFault {
			return operatortest.APIFault{Status: &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusServiceUnavailable}}
		})
		w.api.CloseClientConnections()
		time.Sleep(5 * time.Second)
		w.api.ClearFaults()
		w.excusedRepeats += inFlight
		return end
	}},
	{"the key is revoked and replaced", func(ctx SpecContext, w *world, random *rand.Rand) func() {
		key := fmt.Sprintf("%s_%d", markedKey, random.Uint64())
		w.simulator.SetKeys(key)
		return func() {
			kubectl("-n", ownNamespace, "patch", "secret", "opencx-api-key", "-p", fmt.Sprintf(`{"stringData":{"apiKey":%q}}`, key))
		}
	}},
	{"the organization is made again", func(ctx SpecContext, w *world, _ *rand.Rand) func() {
		organization := &v1alpha1.OpenCXOrganization{}
		name := operatortest.DeployedOrganization
		Expect(k8s.Get(ctx, name, organization)).To(Succeed())
		kubectl("-n", name.Namespace, "delete", "oxo", name.Name)
		return func() {
			// It may be another one of OpenCX: each contact is sent once.
			w.excusedRepeats += soakContacts
			again := &v1alpha1.OpenCXOrganization{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}, Spec: organization.Spec}
			Expect(k8s.Create(ctx, again)).To(Succeed())
		}
	}},
}

var _ = Describe("For as long as is asked", Label("soak"), func() {
	It("the operator stays healthy, whatever happens, and does not grow", func(ctx SpecContext) {
		random := newRandom()
		w := newWorld(ctx, 3, opencxtest.Options{})
		profiler, err := operatortest.FreeAddress(ctx)
		Expect(err).NotTo(HaveOccurred())
		r := w.start(ctx, "a", "--leader-elect", "--pprof-bind-address="+profiler)
		w.leader(ctx)
		w.declare(ctx, soakContacts)
		var weights []weight
		for began := time.Now(); time.Since(began) < *soakFor; {
			changing, stop := context.WithTimeout(ctx, time.Duration(20+random.IntN(20))*time.Second)
			// For the trouble alone, because the changes ask for random's meanwhile.
			numbers := rand.New(rand.NewPCG(random.Uint64(), 0)) //nolint:gosec // it is to be repeated
			done := make(chan struct{})
			go func() {
				defer GinkgoRecover()
				defer close(done)
				w.generate(changing, random, 150*time.Millisecond, soakContacts)
			}()
			trouble := troubles[len(weights)%len(troubles)]
			end := trouble.begin(ctx, w, numbers)
			<-done
			stop()
			end()
			Eventually(ctx, func() error {
				w.force(ctx)
				return w.unsettled(ctx)
			}).WithTimeout(2*patience).WithPolling(10*time.Second).Should(Succeed(), trouble.name)
			Expect(r.works()).To(BeTrue(), "it ended")
			w.check(ctx, allowances{repeats: w.excusedRepeats + w.forced})
			w.forget()
			now := r.weigh(ctx, profiler)
			now.at = time.Since(began)
			weights = append(weights, now)
			_, _ = fmt.Fprintf(GinkgoWriter, "%6s after %q: %s\n", now.at.Round(time.Second), trouble.name, now)
		}
		Expect(len(weights)).To(BeNumerically(">", len(troubles)), "too short to see anything grow")
		// The first quarter is for caches and pools to fill.
		weights = weights[len(weights)/4:]
		third := len(weights) / 3
		for _, part := range weighed {
			before, after := medianOf(weights[:third+1], part.of), medianOf(weights[len(weights)-third-1:], part.of)
			AddReportEntry(part.name, fmt.Sprintf("%.1f, later %.1f", before, after))
			Expect(after).To(BeNumerically("<=", 1.1*before+part.slack), part.name)
		}
	})
})

func (w weight) String() (text string) {
	for _, part := range weighed {
		text += fmt.Sprintf("%s %.1f  ", part.name, part.of(w))
	}
	return text
}

func medianOf(weights []weight, of func(weight) float64) float64 {
	var values []float64
	for _, w := range weights {
		values = append(values, of(w))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// forget drops what was checked, but for what the next check builds on.
func (w *world) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.Concat(w.before, w.simulator.ResetJournal())
	last := map[string]opencxtest.Request{} // accepted, by path
	w.before = nil
	for _, r := range all {
		if !r.AppliedAt.IsZero() {
			last[r.Path] = r
		}
	}
	for _, r := range all {
		if time.Since(r.Time) < 2*w.limit.Window || last[r.Path].Time.Equal(r.Time) {
			w.before = append(w.before, r)
		}
	}
	for name, contact := range w.contacts {
		contact.Requests = nil
		contact.Changes = slices.Clone(contact.Changes[max(0, len(contact.Changes)-1):])
		contact.Sights = slices.Clone(contact.Sights[max(0, len(contact.Sights)-1):])
		if !slices.Contains(w.names, name) {
			contact.Changes = nil
		}
	}
	w.excused, w.excusedRepeats, w.forced = nil, 0, 0
}
