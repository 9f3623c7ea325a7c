package controller

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/organization"
)

// Whoever labels all Secrets all the time must not make each request of one organization
// wait until the keys of all others are read again.
func TestLabelsOnTheSecretsOfOthersCostNoReadOfThem(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	var organizations, secrets []client.Object
	for i := range 20 {
		of := metav1.ObjectMeta{Namespace: "crm", Name: fmt.Sprint("acme-", i)}
		o := &v1alpha1.OpenCXOrganization{ObjectMeta: of}
		o.Spec.APIKeySecretRef.Name = of.Name
		organizations = append(organizations, o)
		secrets = append(secrets, &corev1.Secret{ObjectMeta: of, Data: map[string][]byte{"apiKey": []byte("ocx_" + of.Name)}})
	}
	stored, reads := fake.NewClientBuilder().WithScheme(scheme).WithObjects(append(organizations, secrets...)...).Build(), 0
	live := interceptor.NewClient(stored, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, into client.Object, options ...client.GetOption) error {
			reads++
			return c.Get(ctx, name, into, options...)
		},
	})
	known := organization.New(organization.Options{Cache: stored, Live: live, Limit: budget.DefaultLimit, Share: 1})
	w := watches{&ContactReconciler{cache: stored, organizations: known}}
	look := func() {
		t.Helper()
		key, err := known.Key(t.Context(), client.ObjectKeyFromObject(organizations[0]))
		if err != nil || key.Problem != nil {
			t.Fatalf("problem %+v, %v", key.Problem, err)
		}
	}
	look()
	reads = 0
	for _, secret := range secrets {
		secret.SetLabels(map[string]string{"a": "b"})
		if err := stored.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		if got := w.holdersOfKey(t.Context(), secret); len(got) != 1 || got[0].NamespacedName != client.ObjectKeyFromObject(secret) {
			t.Errorf("a label on the Secret of %s concerns %v", secret.GetName(), got)
		}
	}
	if look(); reads != 1 {
		t.Errorf("%d Secrets are read for a request of one organization", reads)
	}
}
