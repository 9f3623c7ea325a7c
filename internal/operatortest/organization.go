package operatortest

import (
	"cmp"
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// CreateOrganization creates an organization with its API key, and its namespace
// where that is missing. Contacts of all namespaces may use it, and its Secret is
// called like it with "-api-key" behind, unless mutate says otherwise.
func (c *ControlPlane) CreateOrganization(ctx context.Context, name types.NamespacedName, apiKey string, mutate ...func(*v1alpha1.OpenCXOrganization)) error {
	organization := &v1alpha1.OpenCXOrganization{
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name},
		Spec: v1alpha1.OpenCXOrganizationSpec{
			APIKeySecretRef:   v1alpha1.APIKeySecretReference{Name: name.Name + "-api-key"},
			AllowedNamespaces: &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll},
		},
	}
	for _, change := range mutate {
		change(organization)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name.Namespace}}
	if err := c.Client.Create(ctx, namespace); client.IgnoreAlreadyExists(err) != nil {
		return fmt.Errorf("creating the organization's namespace: %w", err)
	}
	secret := apiKeySecret(organization)
	secret.StringData = map[string]string{cmp.Or(organization.Spec.APIKeySecretRef.Key, "apiKey"): apiKey}
	// The Secret first, so that the organization is usable once it is there.
	if err := c.Client.Create(ctx, secret); err != nil {
		return fmt.Errorf("creating the organization's Secret: %w", err)
	}
	if err := c.Client.Create(ctx, organization); err != nil {
		return fmt.Errorf("creating the organization: %w", err)
	}
	return nil
}

// DeleteOrganization deletes an organization and its Secret.
func (c *ControlPlane) DeleteOrganization(ctx context.Context, name types.NamespacedName) error {
	organization := &v1alpha1.OpenCXOrganization{}
	if err := c.Client.Get(ctx, name, organization); err != nil {
		return fmt.Errorf("reading the organization: %w", err)
	}
	for _, object := range []client.Object{organization, apiKeySecret(organization)} {
		if err := c.Client.Delete(ctx, object); err != nil {
			return fmt.Errorf("deleting the organization with its Secret: %w", err)
		}
	}
	return nil
}

func apiKeySecret(organization *v1alpha1.OpenCXOrganization) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: organization.Namespace, Name: organization.Spec.APIKeySecretRef.Name,
	}}
}
