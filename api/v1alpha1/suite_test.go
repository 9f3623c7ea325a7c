package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

var (
	controlPlane *operatortest.ControlPlane
	k8s          client.Client
)

// crds is the folder of the generated CRDs.
var crds = filepath.Join("..", "..", "config", "crd", "bases")

func TestAPI(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "API")
}

var _ = BeforeSuite(func() {
	var err error
	controlPlane, err = operatortest.StartControlPlane(crds)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
	k8s = controlPlane.Client
})

// create asks the API server to create a contact with the given spec, in JSON.
func create(ctx SpecContext, spec string, options ...client.CreateOption) (*v1alpha1.OpenCXContact, error) {
	GinkgoHelper()
	return createAs(ctx, &v1alpha1.OpenCXContact{}, spec, options...)
}

// createOrganization is the same for an organization.
func createOrganization(ctx SpecContext, spec string, options ...client.CreateOption) (*v1alpha1.OpenCXOrganization, error) {
	GinkgoHelper()
	return createAs(ctx, &v1alpha1.OpenCXOrganization{}, spec, options...)
}

// createAs returns in decoded what the API server has created. The spec goes to it
// as it is written, with what Go would drop.
func createAs[T client.Object](ctx SpecContext, decoded T, spec string, options ...client.CreateOption) (T, error) {
	GinkgoHelper()
	kind, err := k8s.GroupVersionKindFor(decoded)
	Expect(err).NotTo(HaveOccurred())
	object := &unstructured.Unstructured{}
	Expect(json.Unmarshal(fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,"metadata":{"generateName":"c-","namespace":"default"},"spec":%s}`, v1alpha1.GroupVersion, kind.Kind, spec), object)).To(Succeed())
	if err := k8s.Create(ctx, object, options...); err != nil {
		return decoded, err
	}
	Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, decoded)).To(Succeed())
	return decoded, nil
}

// apply has the API server apply a spec, in JSON, to an object of the namespace
// default on behalf of a field manager.
func apply(ctx SpecContext, kind, name, manager, spec string, options ...client.ApplyOption) error {
	GinkgoHelper()
	object := &unstructured.Unstructured{}
	Expect(json.Unmarshal(fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,"metadata":{"name":%q,"namespace":"default"},"spec":%s}`, v1alpha1.GroupVersion, kind, name, spec), object)).To(Succeed())
	return k8s.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), append(options, client.FieldOwner(manager))...)
}

// quote is value as JSON.
func quote(value any) string {
	GinkgoHelper()
	data, err := json.Marshal(value)
	Expect(err).NotTo(HaveOccurred())
	return string(data)
}
