// Package policies tests the admission policies of config/policies, and what
// docs/policies.md says of them, on a real kube-apiserver.
package policies

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

var (
	root         = filepath.Join("..", "..")
	controlPlane *operatortest.ControlPlane
	k8s          client.Client
	page         *operatortest.Page // docs/policies.md
)

// shop is the namespace of the page's examples.
const shop = "shop"

// installed are the kinds of which config/policies has objects.
const installed = "validatingadmissionpolicies,validatingadmissionpolicybindings,mutatingadmissionpolicies,mutatingadmissionpolicybindings"

func TestPolicies(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(30 * time.Second) // of the API server, to notice a policy
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	RunSpecs(t, "Policies")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	log.SetLogger(GinkgoLogr)
	var err error
	page, err = operatortest.ReadPage(root, "docs/policies.md", "./test/policies")
	Expect(err).NotTo(HaveOccurred())
	controlPlane, err = operatortest.StartControlPlane()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
	k8s = controlPlane.Client
	// What a user has applied before, with the roles that are shipped.
	kubectl("", "apply", "--server-side", "-k", filepath.Join(root, "config", "default"))
	kubectl("", "wait", "--for=condition=Established", "--timeout=30s",
		"crd/opencxcontacts.contacts.open.cx", "crd/opencxorganizations.contacts.open.cx")
	Expect(k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: shop}})).To(Succeed())
})

var _ = AfterSuite(func() {
	if config, _ := GinkgoConfiguration(); len(config.FocusStrings) == 0 {
		Expect(page.Unrun()).To(BeEmpty(), "commands of docs/policies.md that were not run")
	}
})

// tested are the files of config/policies that have cases.
var tested []string

// describePolicy describes what a file does, in cases of which each goes on from the
// one before.
func describePolicy(file string, cases func()) bool {
	tested = append(tested, file)
	return Describe("config/policies/"+file, Ordered, cases)
}

// kubectl runs the control plane's kubectl and returns what it prints.
func kubectl(stdin string, args ...string) string {
	GinkgoHelper()
	output, err := controlPlane.Kubectl(context.Background(), stdin, args...)
	Expect(err).NotTo(HaveOccurred())
	return output
}

// runFromPage runs a command that stands in the page, as its reader does.
func runFromPage(ctx context.Context, command string) string {
	GinkgoHelper()
	output, err := page.Run(ctx, controlPlane, command)
	Expect(err).NotTo(HaveOccurred())
	return output
}

// newNamespace creates a namespace with annotations. Policies see them at once, because
// the namespace never had others.
func newNamespace(ctx context.Context, annotations map[string]string) string {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "tenant-", Annotations: annotations}}
	Expect(k8s.Create(ctx, namespace)).To(Succeed())
	return namespace.Name
}

// contact is a contact with a spec, in JSON. It gets a name when it has none.
func contact(namespace, name, spec string) *unstructured.Unstructured {
	GinkgoHelper()
	object := &unstructured.Unstructured{}
	Expect(json.Unmarshal(fmt.Appendf(nil, `{"apiVersion":%q,"kind":"OpenCXContact","metadata":{"name":%q,"namespace":%q},"spec":%s}`,
		v1alpha1.GroupVersion, name, namespace, spec), object)).To(Succeed())
	if name == "" {
		object.SetGenerateName("c-")
	}
	return object
}

// try has a contact created, without a trace of it.
func try(ctx context.Context, namespace, spec string) error {
	GinkgoHelper()
	return k8s.Create(ctx, contact(namespace, "", spec), client.DryRunAll)
}

// with is a spec, in JSON, with more fields or other ones.
func with(spec, fields string) string {
	GinkgoHelper()
	var all map[string]any
	Expect(json.Unmarshal([]byte(spec), &all)).To(Succeed())
	Expect(json.Unmarshal([]byte(fields), &all)).To(Succeed())
	text, err := json.Marshal(all)
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// manifestOf is an object as kubectl reads it.
func manifestOf(object *unstructured.Unstructured) string {
	GinkgoHelper()
	text, err := object.MarshalJSON()
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// sectionOf is what the page says of a file.
func sectionOf(file string) string {
	GinkgoHelper()
	for section := range strings.SplitSeq(page.Text, "\n## ") {
		if heading, _, _ := strings.Cut(section, "\n"); strings.HasSuffix(heading, "`"+file+"`") {
			return section
		}
	}
	Fail("docs/policies.md has no section whose heading ends with `" + file + "`")
	return ""
}
