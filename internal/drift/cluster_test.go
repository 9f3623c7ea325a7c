package drift

import (
	"context"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/organization"
)

var acme = types.NamespacedName{Namespace: "crm", Name: "acme"}

// cluster is a cache and an API server with one organization and the Secret that has its
// key.
type cluster struct {
	mu           sync.Mutex
	organization *v1alpha1.OpenCXOrganization // nil when there is none
	secret       corev1.Secret
}

func newCluster() *cluster {
	c := &cluster{organization: &v1alpha1.OpenCXOrganization{}}
	c.organization.Namespace, c.organization.Name = acme.Namespace, acme.Name
	c.organization.CreationTimestamp = metav1.Now()
	c.organization.Spec.APIKeySecretRef.Name = "key"
	c.organization.Status.LastSyncTime = &c.organization.CreationTimestamp // its key is proven
	c.secret.UID, c.secret.ResourceVersion = "key", "1"
	c.secret.Data = map[string][]byte{organization.DefaultAPIKeyField: []byte("ocx_key")}
	return c
}

// change stores another version of the organization.
func (c *cluster) change(change func(*v1alpha1.OpenCXOrganization)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := c.organization.DeepCopy()
	change(changed)
	c.organization = changed
}

// rotate stores another key.
func (c *cluster) rotate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	version, _ := strconv.Atoi(c.secret.ResourceVersion)
	c.secret.ResourceVersion = strconv.Itoa(version + 1)
	c.secret.Data = map[string][]byte{organization.DefaultAPIKeyField: []byte("ocx_key_" + c.secret.ResourceVersion)}
}

// remove deletes the organization.
func (c *cluster) remove() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.organization = nil
}

// Get implements client.Reader.
func (c *cluster) Get(_ context.Context, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch into := into.(type) {
	case *v1alpha1.OpenCXOrganization:
		if c.organization == nil {
			return apierrors.NewNotFound(schema.GroupResource{}, name.Name)
		}
		*into = *c.organization
	case *metav1.PartialObjectMetadata:
		into.ObjectMeta = c.secret.ObjectMeta
	case *corev1.Secret:
		*into = c.secret
	}
	return nil
}

// List implements client.Reader.
func (c *cluster) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.organization != nil {
		into.(*v1alpha1.OpenCXOrganizationList).Items = []v1alpha1.OpenCXOrganization{*c.organization}
	}
	return nil
}

// organizations are those of a process that has just begun.
func (c *cluster) organizations(interval time.Duration) *organization.Organizations {
	return organization.New(organization.Options{Cache: c, Live: c, Limit: budget.DefaultLimit, Share: 1, DriftCheckInterval: interval})
}

// bell wakes who looks at the organization.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (b bell) ring(types.NamespacedName) {
	select {
	case b <- struct{}{}:
	default:
	}
}

// drive has the organization reconciled at once, when it is woken, and when the time has
// come that the last look asked for, of which looked is told: 0 for none.
func drive(ctx context.Context, sweeper *Sweeper, woken bell, looked func(again time.Duration)) {
	timer := time.NewTimer(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-woken:
		case <-timer.C:
		}
		result, err := sweeper.Reconcile(ctx, ctrl.Request{NamespacedName: acme})
		timer.Stop()
		switch {
		case err != nil:
			timer.Reset(time.Second)
		case result.RequeueAfter > 0:
			timer.Reset(result.RequeueAfter)
		}
		looked(result.RequeueAfter)
	}
}
