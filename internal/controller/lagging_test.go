package controller

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/opencx-labs/opencx-operator/internal/budget"
)

// lagging is the body of a watch whose events arrive when mu is free.
type lagging struct {
	io.ReadCloser
	mu *sync.RWMutex
}

func (l lagging) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	l.mu.RLock()
	defer l.mu.RUnlock()
	return n, err
}

var _ = Describe("A status patch whose answer is lost", func() {
	It("costs no request while the watch lags behind", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.stop()
		var mu sync.RWMutex
		var loses atomic.Bool
		w.wrap = func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				response, err := next.RoundTrip(r)
				switch {
				case err != nil:
				case r.URL.Query().Has("watch"):
					response.Body = lagging{response.Body, &mu}
				case strings.HasSuffix(r.URL.Path, "/opencxcontacts/jane/status") && loses.CompareAndSwap(true, false):
					return nil, errors.Join(response.Body.Close(), errors.New("connection reset"))
				}
				return response, err
			})
		}
		w.startOperator()
		release := w.simulator.Hold()
		w.declare(ctx, "jane", `{}`)
		Eventually(w.simulator.Journal).Should(HaveLen(1))
		loses.Store(true)
		mu.Lock()
		release()
		w.expectSynced(ctx, "jane", 1)
		Consistently(w.journal, 5*time.Second).Should(HaveLen(1))
		mu.Unlock()
		w.expectNoMore(1)
	})
})
