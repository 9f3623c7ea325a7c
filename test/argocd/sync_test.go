//go:build cluster

package argocd

import (
	"fmt"
	"strings"
	"testing"

	"github.com/argoproj/gitops-engine/pkg/health"
	"github.com/argoproj/gitops-engine/pkg/sync/common"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func asList(targets ...*unstructured.Unstructured) []*unstructured.Unstructured { return targets }

func TestASyncLeavesNoDiffAndASecondOneChangesNothing(t *testing.T) {
	for _, serverSide := range []bool{false, true} {
		t.Run(fmt.Sprintf("server-side %t", serverSide), func(t *testing.T) {
			c := newCluster(t, fmt.Sprintf("argo-sync-%t", serverSide))
			c.serverSide = serverSide
			c.createKey()
			organization, contact := c.organization(), c.contact("jane")
			c.expectSynced(organization, contact)
			c.expectHealth(organization, health.HealthStatusHealthy)
			c.expectHealth(contact, health.HealthStatusHealthy)
			c.expectNoDiff(organization)
			c.expectNoDiff(contact)
			before := c.live(contact).GetResourceVersion()
			c.expectSynced(organization, contact)
			if after := c.live(contact).GetResourceVersion(); after != before {
				t.Errorf("the second sync made resourceVersion %s of %s", after, before)
			}
			c.expectJournal("200 jane")
		})
	}
}

func TestAContactOfALaterWaveWaitsForItsOrganization(t *testing.T) {
	c := newCluster(t, "argo-waves")
	organization, contact := c.organization(`argocd.argoproj.io/sync-wave: "-1"`), c.contact("jane")
	phase, _, results := c.pass(common.OperationRunning, nil, asList(organization, contact))
	c.expectHealth(organization, health.HealthStatusProgressing)
	if phase, _, results = c.pass(phase, results, asList(organization, contact)); phase != common.OperationRunning || len(results) != 1 {
		t.Errorf("the sync is %s with %+v", phase, results)
	}
	if c.live(contact) != nil {
		t.Error("the contact is there before its organization is usable")
	}
	c.createKey()
	c.expectSynced(organization, contact)
	c.expectHealth(contact, health.HealthStatusHealthy)
	c.expectJournal("200 jane")
}

func TestAContactIDChangesOnlyByReplacing(t *testing.T) {
	c := newCluster(t, "argo-replace")
	c.createKey()
	organization := c.organization()
	c.expectSynced(organization, c.contact("jane"))
	c.expectJournal("200 jane")

	phase, message := c.sync(organization, c.contact("janet"))
	if phase != common.OperationFailed || !strings.Contains(message, "contactID is immutable") {
		t.Fatalf("the sync is %s: %s", phase, message)
	}
	c.expectJournal("200 jane")

	replaced := c.contact("janet", "argocd.argoproj.io/sync-options: 'Replace=true,Force=true'")
	c.expectSynced(organization, replaced)
	c.expectJournal("200 jane, 200 janet")
	c.expectHealth(replaced, health.HealthStatusHealthy)
	c.expectNoDiff(replaced)

	// While the option stays, every sync replaces the object, and OpenCX is told again.
	c.expectSynced(organization, replaced)
	c.expectJournal("200 jane, 200 janet, 200 janet")

	c.expectSynced(organization, c.contact("janet"))
	c.expectSynced(organization, c.contact("janet"))
	c.expectJournal("200 jane, 200 janet, 200 janet")
}

func TestTheReconcileActionSendsTheContactOnceMore(t *testing.T) {
	c := newCluster(t, "argo-action")
	c.createKey()
	contact := c.contact("jane")
	c.expectSynced(c.organization(), contact)
	c.expectHealth(contact, health.HealthStatusHealthy)
	c.expectJournal("200 jane")
	live, vm := c.live(contact), vm(t)
	action, err := vm.GetResourceAction(live, "reconcile")
	c.must(err)
	impacted, err := vm.ExecuteResourceAction(live, action.ActionLua, nil)
	c.must(err)
	c.patch(contact, fmt.Appendf(nil, `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":%q}}}`,
		impacted[0].UnstructuredObj.GetAnnotations()["contacts.open.cx/reconcile-at"]))
	c.expectJournal("200 jane, 200 jane")
	c.expectHealth(contact, health.HealthStatusHealthy)
	c.expectNoDiff(contact) // an annotation that Git does not have is none
}
