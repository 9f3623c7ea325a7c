// Package v1alpha1 contains API Schema definitions for the contacts v1alpha1 API group.
// +kubebuilder:object:generate=true
// +groupName=contacts.open.cx
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion is the API group and version of the types in this package.
	GroupVersion = schema.GroupVersion{Group: "contacts.open.cx", Version: "v1alpha1"}

	// SchemeBuilder collects the functions that add the types to a scheme.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme adds the types in this package to a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &OpenCXContact{}, &OpenCXContactList{}, &OpenCXOrganization{}, &OpenCXOrganizationList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
