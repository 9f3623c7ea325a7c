//go:build faults

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

// errors are the lines of a replica's log that tell of one.
func (r *replica) errors() (lines []string) {
	for _, line := range logLines(r.Operator) {
		if strings.Contains(line, `"level":"error"`) {
			lines = append(lines, line)
		}
	}
	return lines
}

// labelAll labels all contacts and the Secret of a namespace ten times a second, as often
// as the API server can, until ctx ends. It returns how often it has labelled each.
func (w *world) labelAll(ctx context.Context, namespace string, names []types.NamespacedName) (rounds int) {
	defer GinkgoRecover()
	lasting := context.WithoutCancel(ctx) // what has begun is finished
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "values"}}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return rounds
		case <-tick.C:
		}
		rounds++
		for _, name := range names {
			if name.Namespace == namespace {
				w.label(lasting, name, rounds)
			}
		}
		Expect(k8s.Patch(lasting, secret, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"labels":{"n":"%d"}}}`, rounds)))).To(Succeed())
	}
}

var _ = Describe("Others", func() {
	It("label every contact and Secret ten times a second, and edits are sent once", func(ctx SpecContext) {
		const contacts = 20
		random := newRandom()
		w := newWorld(ctx, 2, opencxtest.Options{})
		w.start(ctx, "a")
		w.leader(ctx)
		w.declare(ctx, contacts)
		w.settle(ctx)

		// What the operator asks of the API server; status writes of contacts without a
		// Secret apart.
		var reads, writes, plainWrites atomic.Int32
		w.api.Inject(func(r *http.Request) operatortest.APIFault {
			name, isStatus := strings.CutSuffix(r.URL.Path, "/status")
			switch {
			case r.Method == http.MethodGet:
				reads.Add(1)
			case isStatus && strings.Contains(name, "/opencxcontacts/") && !takesSecret(types.NamespacedName{Name: path.Base(name)}):
				plainWrites.Add(1)
			default:
				writes.Add(1)
			}
			return operatortest.APIFault{}
		})
		labelling, stop := context.WithTimeout(ctx, 20*time.Second)
		defer stop()
		rounds := make([]int, len(w.namespaces))
		var both sync.WaitGroup
		for i, namespace := range w.namespaces {
			both.Go(func() { rounds[i] = w.labelAll(labelling, namespace, w.names) })
		}
		plainEdits := 0
		for labelling.Err() == nil {
			name := w.any(random)
			w.edit(ctx, name)
			if !takesSecret(name) {
				plainEdits++
			}
			time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond)
		}
		both.Wait()
		w.settle(ctx)
		AddReportEntry("the operator's requests to the API server", fmt.Sprintf(
			"%v rounds of labels, %d edits of contacts without a Secret: %d writes of their status; %d other writes, %d reads",
			rounds, plainEdits, plainWrites.Load(), writes.Load(), reads.Load()))
		// One before an edit is sent, one for the answer, and none for a label.
		Expect(int(plainWrites.Load())).To(BeNumerically("<=", 2*plainEdits))
		w.check(ctx, allowances{repeats: 0})
	})

	It("delete a namespace during its drain", func(ctx SpecContext) {
		random := newRandom()
		w := newWorld(ctx, 3, opencxtest.Options{})
		w.declare(ctx, 240)
		replica := w.start(ctx, "a")
		w.awaitAccepted(ctx, 60+random.IntN(60))

		// From now on nothing can be created in it, not even an event.
		going := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespaces[2]}}
		Expect(k8s.Delete(ctx, going)).To(Succeed())
		var gone []types.NamespacedName
		for _, name := range w.names {
			if name.Namespace == going.Name {
				gone = append(gone, name)
			}
		}
		random.Shuffle(len(gone), func(i, j int) { gone[i], gone[j] = gone[j], gone[i] })
		for i, name := range gone {
			if i == len(gone)/2 { // contacts whose Secret has gone before them
				Expect(k8s.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: going.Name, Name: "values"}})).To(Succeed())
				time.Sleep(time.Second)
			}
			w.delete(ctx, name)
		}
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(going), going)).To(Succeed())
		going.Spec.Finalizers = nil
		Expect(k8s.SubResource("finalize").Update(ctx, going)).To(Succeed())

		told := w.awaitEdit(ctx, w.any(random))
		w.settle(ctx)
		late := 0
		for _, r := range w.simulator.Journal()[told:] {
			if strings.HasPrefix(r.Path, "/contacts/"+going.Name+".") {
				late++
			}
		}
		Expect(late).To(BeNumerically("<=", inFlight), "requests for deleted contacts")
		before := len(replica.errors())
		AddReportEntry("deleted", fmt.Sprintf("%d contacts; %d requests for them were late; %d errors are logged", len(gone), late, before))
		Consistently(ctx, func() int { return len(replica.errors()) }).WithTimeout(30*time.Second).WithPolling(time.Second).Should(Equal(before), "%v", replica.errors())
		// Nothing was under way but what ends by itself.
		w.check(ctx, allowances{repeats: 0})
	})

	It("delete the organization and create it again, twice, during its drain", func(ctx SpecContext) {
		random := newRandom()
		w := newWorld(ctx, 3, opencxtest.Options{})
		w.declare(ctx, 200)
		w.start(ctx, "a")
		repeats := inFlight // which were answered after the second time
		for _, absent := range []time.Duration{3 * time.Second, 0} {
			w.awaitAccepted(ctx, w.accepted()+30+random.IntN(60))
			Expect(controlPlane.DeleteOrganization(ctx, operatortest.DeployedOrganization)).To(Succeed())
			w.edit(ctx, w.any(random))
			time.Sleep(absent)
			w.createOrganization(ctx)
			// An organization of that name may be another one of OpenCX: whatever was sent to the
			// last one is sent again.
			byContact, _ := w.requests()
			repeats += len(byContact)
			w.edit(ctx, w.any(random))
		}
		w.settle(ctx)
		w.check(ctx, allowances{repeats: repeats})
	})
})
