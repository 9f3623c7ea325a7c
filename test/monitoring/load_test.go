//go:build platforms

package monitoring

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

const (
	goodKey, badKey = "ocx_live_monitoring", "ocx_live_revoked"
	email           = "jane@example.com"
)

// firstLook is how long it takes until drift was found and repaired.
const firstLook = 4 * time.Minute

// The organizations: one that works, one whose key is refused, and one whose contacts
// are sent again too often for its limit.
var acme, revoked, busy = organization("acme"), organization("revoked"), organization("busy")

func organization(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "crm", Name: name}
}

// startLoad declares what is there before the operator starts.
func startLoad(ctx context.Context) {
	GinkgoHelper()
	simulator = operatortest.StartSimulator(opencxtest.Options{Keys: []string{goodKey, "ocx_live_busy"}, AcceptAnyContact: true})
	DeferCleanup(simulator.Close)
	Expect(controlPlane.CreateOrganization(ctx, acme, goodKey, func(o *v1alpha1.OpenCXOrganization) {
		o.Spec.DriftCheckInterval = &metav1.Duration{Duration: time.Minute}
	})).To(Succeed())
	Expect(controlPlane.CreateOrganization(ctx, revoked, badKey)).To(Succeed())
	Expect(controlPlane.CreateOrganization(ctx, busy, "ocx_live_busy", func(o *v1alpha1.OpenCXOrganization) {
		o.Spec.RateLimit = &v1alpha1.RateLimit{Requests: 2, Window: metav1.Duration{Duration: time.Minute}}
		o.Spec.ResyncInterval = &metav1.Duration{Duration: 5 * time.Minute}
	})).To(Succeed())
	simulator.InjectContact("acme-1", opencxtest.Answer{Status: 500})
	simulator.InjectContact("acme-2", opencxtest.Answer{Status: 422, Body: `{"statusCode":422,"message":"phone is not valid"}`})
	simulator.InjectContact("acme-3", opencxtest.Answer{Break: opencxtest.Reset})
	simulator.AddContacts("acme-4")
	simulator.InjectContact("acme-4", opencxtest.Answer{Status: 200}) // and it keeps what it has
	for i := range 20 {
		declare(ctx, acme, i)
	}
	for i := range 6 {
		declare(ctx, busy, i)
	}
}

// breakThings goes on while Prometheus scrapes: more contacts than a window has slots
// for, and some whose key is refused.
func breakThings(ctx context.Context) {
	GinkgoHelper()
	for i := range 5 {
		declare(ctx, revoked, i)
	}
	for i := range 130 {
		declare(ctx, acme, 20+i)
	}
}

func declare(ctx context.Context, organization types.NamespacedName, i int) {
	GinkgoHelper()
	name := fmt.Sprintf("%s-%d", organization.Name, i)
	Expect(controlPlane.Client.Create(ctx, &v1alpha1.OpenCXContact{
		ObjectMeta: metav1.ObjectMeta{Namespace: "crm", Name: name},
		Spec: v1alpha1.OpenCXContactSpec{
			ContactID: name, Email: new(email),
			OrganizationRef: &v1alpha1.OrganizationReference{Name: organization.Name},
		},
	})).To(Succeed())
}

// replica is a process of the operator.
type replica struct {
	*operatortest.Operator
	address string // of its metrics
}

// startReplica starts one, with the flags for metrics of config/manager but for the
// address.
func startReplica(ctx context.Context, binary string) replica {
	GinkgoHelper()
	address, err := operatortest.FreeAddress(ctx)
	Expect(err).NotTo(HaveOccurred())
	operator, err := operatortest.LaunchOperator(operatortest.OperatorOptions{
		Binary: binary, Kubeconfig: controlPlane.Kubeconfig, APIURL: simulator.URL,
		Args:    []string{"--leader-elect", "--metrics-bind-address=" + address},
		LogFile: filepath.Join(GinkgoT().TempDir(), "replica.log"),
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(operator.Kill)
	return replica{operator, address}
}

// scrape is what a replica answers to a token.
func (r replica) scrape(ctx context.Context, token string) (status int, text string) {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+r.address+"/metrics", nil)
	Expect(err).NotTo(HaveOccurred())
	request.Header.Set("Authorization", "Bearer "+token)
	scraper := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	response, err := scraper.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	return response.StatusCode, string(body)
}

// reasons are the reasons of all contacts, with how many have each.
func reasons(ctx context.Context) map[string]int {
	GinkgoHelper()
	var all v1alpha1.OpenCXContactList
	Expect(controlPlane.Client.List(ctx, &all, client.InNamespace("crm"))).To(Succeed())
	counts := map[string]int{}
	for i := range all.Items {
		for _, condition := range all.Items[i].Status.Conditions {
			if condition.Type == v1alpha1.ReadyCondition {
				counts[condition.Reason]++
			}
		}
	}
	return counts
}
