package controller

import (
	"cmp"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	clientrest "k8s.io/client-go/rest"

	"github.com/opencx-labs/opencx-operator/internal/budget"
)

// unreadable is an API server that does not give an object: at once, or not at all.
type unreadable struct {
	http.RoundTripper
	path  atomic.Pointer[string] // how that of the object ends
	hangs atomic.Bool
	code  atomic.Int32 // of its answers; 0 is 500
}

func (u *unreadable) RoundTrip(request *http.Request) (*http.Response, error) {
	path := u.path.Load()
	if path == nil || request.Method != http.MethodGet || !strings.HasSuffix(request.URL.Path, *path) {
		return u.RoundTripper.RoundTrip(request)
	}
	if u.hangs.Load() {
		<-request.Context().Done()
		return nil, request.Context().Err()
	}
	return &http.Response{StatusCode: cmp.Or(int(u.code.Load()), http.StatusInternalServerError), ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, Request: request}, nil
}

// startUnreadable restarts the operator with an API server that can be made unreadable.
func (w *world) startUnreadable() *unreadable {
	GinkgoHelper()
	w.stop()
	u := &unreadable{}
	config := controlPlane.Config
	defer func() { controlPlane.Config = config }()
	controlPlane.Config = clientrest.CopyConfig(config)
	controlPlane.Config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		if u.RoundTripper == nil {
			u.RoundTripper = next
		}
		return u
	})
	w.startOperator()
	return u
}

var _ = Describe("What cannot be read from the API server", func() {
	It("is told by the contacts whose changes wait for it, and by the organization", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		u := w.startUnreadable()
		w.put(ctx, "jane", map[string]string{"phone": "+12025550123"})
		w.declare(ctx, "jane", phoneFromJane)
		w.declare(ctx, "joe", `{"name":"old"}`)
		w.expectSynced(ctx, "jane", 1)
		w.expectSynced(ctx, "joe", 1)

		By("a value")
		u.path.Store(new("/secrets/jane"))
		w.put(ctx, "jane", map[string]string{"phone": "+12025550199"})
		Eventually(func() string { return w.summary(ctx, "jane") }, promptly).Should(Equal("1/1 Ready=Unknown:Waiting Reconciling=True:Waiting"))
		Expect(w.message(ctx, "jane")).To(Equal(unreadMessage))
		u.path.Store(nil)
		Eventually(func() string { return w.summary(ctx, "jane") }, 2*maxRetry).Should(Equal("1/1 Ready=True:Synced"))

		By("the API key, while the API server hangs")
		u.hangs.Store(true)
		u.path.Store(new("/secrets/default-api-key"))
		w.change(ctx, "Secret", "default-api-key", `{"metadata":{"labels":{"a":"b"}}}`)
		w.expectOrganization(ctx, "default", "1/1 Ready=Unknown:Waiting Reconciling=True:Waiting")
		w.edit(ctx, "joe", `{"spec":{"name":"new"}}`)
		Eventually(func() string { return w.summary(ctx, "joe") }, promptly).Should(Equal("1/2 Ready=Unknown:Waiting Reconciling=True:Waiting"))
		w.expectNoMore(3)
		u.path.Store(nil)
		Eventually(func() string { return w.summary(ctx, "joe") }, 2*maxRetry).Should(Equal("2/2 Ready=True:Synced"))
		w.expectOrganization(ctx, "default", "1/1 Ready=True:Usable")
	}, SpecTimeout(3*time.Minute))
})
