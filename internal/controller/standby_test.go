package controller

import (
	"net/http"
	"path"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientrest "k8s.io/client-go/rest"

	"github.com/opencx-labs/opencx-operator/internal/budget"
)

type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (r roundTrip) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

var _ = Describe("A replica that waits for the lease", func() {
	It("has read all that is watched, so that it leads without delay", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.stop()
		w.kubectl(ctx, `{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"opencx-operator.open.cx"},
			"spec":{"holderIdentity":"another replica","leaseDurationSeconds":3600,"renewTime":`+asJSON(metav1.NowMicro())+`}}`, "create", "-f", "-")
		var read sync.Map
		config := controlPlane.Config
		defer func() { controlPlane.Config = config }()
		controlPlane.Config = clientrest.CopyConfig(config)
		controlPlane.Config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(request *http.Request) (*http.Response, error) {
				if request.URL.Query().Get("watch") == "true" {
					read.Store(path.Base(request.URL.Path), true)
				}
				return next.RoundTrip(request)
			})
		})
		w.leaderElection = true
		w.startOperator()
		Eventually(func() (kinds []string) {
			read.Range(func(kind, _ any) bool {
				kinds = append(kinds, kind.(string))
				return true
			})
			return kinds
		}).Should(ConsistOf("opencxcontacts", "opencxorganizations", "secrets", "configmaps", "namespaces"))
	})
})
