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
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

var k8s client.Client

func TestAPI(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "API")
}

var _ = BeforeSuite(func() {
	controlPlane := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
	}
	config, err := controlPlane.Start()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
	config.QPS = -1
	scheme := runtime.NewScheme()
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	k8s, err = client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
})

// create asks the API server to create a contact with the given spec, in JSON.
func create(ctx SpecContext, spec string, options ...client.CreateOption) (*v1alpha1.OpenCXContact, error) {
	GinkgoHelper()
	object := &unstructured.Unstructured{}
	Expect(json.Unmarshal(fmt.Appendf(nil, `{"apiVersion":"contacts.open.cx/v1alpha1","kind":"OpenCXContact","metadata":{"generateName":"c-","namespace":"default"},"spec":%s}`, spec), object)).To(Succeed())
	if err := k8s.Create(ctx, object, options...); err != nil {
		return nil, err
	}
	contact := &v1alpha1.OpenCXContact{}
	Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, contact)).To(Succeed())
	return contact, nil
}

// quote is value as JSON.
func quote(value any) string {
	GinkgoHelper()
	data, err := json.Marshal(value)
	Expect(err).NotTo(HaveOccurred())
	return string(data)
}
