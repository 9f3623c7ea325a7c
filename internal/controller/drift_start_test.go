package controller

import (
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	clientrest "k8s.io/client-go/rest"

	"github.com/opencx-labs/opencx-operator/internal/budget"
)

// slowly delays the reads of the ConfigMap with the reservations.
type slowly struct{ http.RoundTripper }

func (s slowly) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method == http.MethodGet && strings.HasSuffix(request.URL.Path, "/configmaps/opencx-operator-budget") {
		time.Sleep(time.Second)
	}
	return s.RoundTripper.RoundTrip(request)
}

var _ = Describe("A sweep at the start", func() {
	It("waits until it is known what processes before have sent", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 3, Window: 5 * time.Second})
		for _, name := range []string{"a", "b", "c"} {
			w.declare(ctx, name, `{"name":"Jane"}`)
		}
		for _, name := range []string{"a", "b", "c"} {
			w.expectSynced(ctx, name, 1)
		}
		w.stop()
		before := controlPlane.Config
		DeferCleanup(func() { controlPlane.Config = before })
		controlPlane.Config = clientrest.CopyConfig(before)
		controlPlane.Config.Wrap(func(inner http.RoundTripper) http.RoundTripper { return slowly{inner} })
		w.lookEvery(time.Second)
		Eventually(w.requests(http.MethodGet)).Should(BeNumerically(">", 1))
		for _, r := range w.simulator.Journal() {
			Expect(r.Status).NotTo(Equal(http.StatusTooManyRequests)) // one of them may have no answer yet
		}
	})
})
