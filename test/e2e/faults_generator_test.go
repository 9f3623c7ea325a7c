//go:build faults

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

// newRandom repeats itself with the seed that Ginkgo prints, which --ginkgo.seed sets.
func newRandom() *rand.Rand {
	seed := uint64(GinkgoRandomSeed()) //nolint:gosec // any number is a seed
	AddReportEntry("seed", fmt.Sprintf("--ginkgo.seed=%d", seed))
	return rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // it is to be repeated
}

// generate changes contacts at random until ctx ends: with so long between two changes,
// and so many contacts at most.
func (w *world) generate(ctx context.Context, random *rand.Rand, pause time.Duration, most int) {
	defer GinkgoRecover()
	lasting := context.WithoutCancel(ctx) // what has begun is finished
	for ctx.Err() == nil {
		kind := random.IntN(100)
		switch {
		case len(w.names) == 0 || kind < 30 && len(w.names) < most:
			w.create(lasting, types.NamespacedName{
				Namespace: w.namespaces[random.IntN(len(w.namespaces))], Name: fmt.Sprintf("g%d", len(w.manifest)),
			})
		case kind < 80:
			w.edit(lasting, w.any(random))
		case kind < 88:
			name := w.any(random)
			w.delete(lasting, name)
			if random.IntN(2) == 0 { // as a rename back and forth, or a re-apply
				w.create(lasting, name)
			}
		case kind < 90:
			w.editSecret(lasting, w.namespaces[random.IntN(len(w.namespaces))])
		default:
			w.label(lasting, w.any(random), random.IntN(1000))
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (w *world) any(random *rand.Rand) types.NamespacedName {
	return w.names[random.IntN(len(w.names))]
}

// label changes what no request depends on.
func (w *world) label(ctx context.Context, name types.NamespacedName, n int) {
	contact := &v1alpha1.OpenCXContact{}
	contact.Namespace, contact.Name = name.Namespace, name.Name
	persist(func() error {
		return k8s.Patch(ctx, contact, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"labels":{"n":"%d"}}}`, n)))
	})
}

// misbehave has OpenCX answer a part of all updates, in percent, with any status and any
// body, or not at all, or too late. random is for it alone. It returns how many were not
// told that OpenCX has what they carry: each of them is a reason to send that once more.
func (w *world) misbehave(random *rand.Rand, percent int) (unheard func() int) {
	var n atomic.Int64
	taken := map[string]bool{} // paths with bodies that OpenCX has accepted
	w.simulator.InjectFunc(func(r opencxtest.Request) (opencxtest.Answer, bool) {
		if r.Method != http.MethodPatch {
			return opencxtest.Answer{}, false
		}
		state := r.Path + string(r.Body)
		if random.IntN(100) >= percent {
			taken[state] = true
			return opencxtest.Answer{}, false
		}
		answer := opencxtest.Answer{Status: 200 + random.IntN(400), Body: malformed(random, r), Header: map[string]string{}}
		if random.IntN(2) == 0 { // those that mean something come seldom otherwise
			answer.Status = []int{200, 204, 301, 400, 401, 402, 403, 404, 408, 409, 413, 422, 425, 429, 500, 502, 503, 504}[random.IntN(18)]
		}
		silent := false
		switch random.IntN(8) {
		case 0:
			answer.Break, silent = opencxtest.Reset, true
		case 1:
			answer.Break = opencxtest.Half // of the body, on which nothing depends
		case 2:
			answer.Break, silent = opencxtest.Hang, true
		case 3:
			answer.Delay, silent = 11*time.Second, true // the client waits for ten
		case 4:
			answer.Header["Retry-After"] = []string{"1", "-1", "soon", "0", "99999999999999999999"}[random.IntN(5)]
		}
		// A 2xx without an update would be a lie that nobody can see.
		if answer.Applied = answer.Status < 300 || random.IntN(2) == 0; answer.Applied {
			taken[state] = true
		}
		if taken[state] && (silent || answer.Status >= 300) {
			n.Add(1)
		}
		return answer, true
	})
	return func() int { return int(n.Load()) }
}

// malformed is a body of an answer, some of which repeat what must not be shown.
func malformed(random *rand.Rand, r opencxtest.Request) string {
	return []string{
		"", "{", "null", "[]", `{"statusCode":"no","message":{},"error":[]}`, "<html>Bad Gateway</html>", "\xff\xfe\x00",
		strings.Repeat("a", 1<<20), strings.Repeat("[", 10_000), string(r.Body), "Authorization: Bearer " + r.Key,
		fmt.Sprintf(`{"statusCode":422,"message":%q,"error":"Bearer %s"}`, r.Body, r.Key),
	}[random.IntN(12)]
}
