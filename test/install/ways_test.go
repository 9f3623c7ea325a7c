//go:build platforms

package install

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// way is one to install the operator, by commands of docs/install.md.
type way struct {
	install, upgrade, keep, remove string
	namespaces                     []string // of contacts, which the first command makes when it names them
}

// again is an install where the namespaces are there already.
func again(install string) string {
	return regexp.MustCompile(`(?m)^kubectl create namespace .*\n`).ReplaceAllString(install, "")
}

func kustomize(install, overlay string, namespaces ...string) way {
	keep := strings.Replace(docs.block("Keep the contacts", 0), "config/default", overlay, 1)
	return way{install, again(install), keep, docs.block("Remove everything", 0) + " OVERLAY=" + overlay, namespaces}
}

func helm(install string, namespaces ...string) way {
	keep := docs.block("Keep the contacts", 2)
	return way{install, docs.block("Upgrade", 0), keep, keep + "\n" + docs.block("Remove everything", 2), namespaces}
}

// older makes a project one of an older version: the chart has a lower one, and the CRD
// of contacts lacks a field of status.
func older(folder string) string {
	GinkgoHelper()
	chart := filepath.Join(folder, "charts", "opencx-operator")
	edit(filepath.Join(chart, "Chart.yaml"), func(text string) string { return strings.ReplaceAll(text, "ersion: 0.1.0", "ersion: 0.0.1") })
	for _, crds := range []string{filepath.Join(folder, "config", "crd", "bases"), filepath.Join(chart, "files", "crds")} {
		edit(filepath.Join(crds, "contacts.open.cx_opencxcontacts.yaml"), func(text string) string {
			crd := unstructured.Unstructured{}
			Expect(yaml.Unmarshal([]byte(text), &crd.Object)).To(Succeed())
			versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
			Expect(err).NotTo(HaveOccurred())
			unstructured.RemoveNestedField(versions[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "status", "properties", "lastHandledReconcileAt")
			Expect(unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions")).To(Succeed())
			edited, err := yaml.Marshal(crd.Object)
			Expect(err).NotTo(HaveOccurred())
			return string(edited)
		})
	}
	return folder
}

func edit(file string, change func(string) string) {
	GinkgoHelper()
	text, err := os.ReadFile(file)
	Expect(err).NotTo(HaveOccurred())
	changed := change(string(text))
	Expect(changed).NotTo(Equal(string(text)))
	Expect(os.WriteFile(file, []byte(changed), 0o600)).To(Succeed())
}

// newField says whether the installed CRD has the field that the older one lacks.
func newField() bool {
	return strings.Contains(run(programs, "kubectl get crd opencxcontacts.contacts.open.cx -o yaml"), "lastHandledReconcileAt:")
}

// left are the objects of the operator that are in the cluster, but for its namespace and CRDs.
func left() []string {
	return slices.DeleteFunc(strings.Fields(run(programs,
		`kubectl get deployments,services,poddisruptionbudgets,networkpolicies,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings --all-namespaces -o name`)),
		func(name string) bool { return !strings.Contains(name, "/opencx-") })
}

var _ = DescribeTable("The operator installed",
	func(ctx SpecContext, choose func() way) {
		w := choose()
		before := objects()
		for _, namespace := range w.namespaces {
			if !strings.Contains(w.install, "create namespace "+namespace+"\n") {
				run(programs, "kubectl create namespace "+namespace)
			}
		}
		By("working, in an older version")
		run(older(project()), w.install)
		Expect(newField()).To(BeFalse())
		folder := project()
		d := prepare(ctx, w.namespaces[0])
		Expect(d.Declare(ctx)).To(Succeed())
		operator, metrics := start(ctx, d, old)
		Eventually(func() error { return d.Proceed(ctx, metrics) }).Should(Succeed(), operator.Log)
		run(programs, "kubectl -n opencx-system create secret generic another --from-literal=a=b") // which is nobody's
		run(programs, "kubectl -n opencx-system delete secret another")
		stop(operator)
		Expect(operator.Log()).To(ContainSubstring(`"version":"v0.0.1"`))

		By("upgraded")
		if strings.Contains(w.install, "dist/") || strings.Contains(w.install, "my-operator") {
			run(folder, again(w.install)) // it writes the files
		}
		run(folder, w.upgrade)
		Expect(newField()).To(BeTrue())
		sendsNothing(ctx, d, "after-upgrade")

		By("uninstalled, but for the contacts, and installed once more")
		run(folder, w.keep)
		Expect(left()).To(BeEmpty())
		run(folder, again(w.install))
		sendsNothing(ctx, d, "after-return")

		By("uninstalled with everything")
		run(programs, "kubectl delete clusterrolebinding scraper") // the test's own
		run(folder, w.remove)
		run(programs, "kubectl delete namespace "+strings.Join(w.namespaces, " ")) // the user's own
		Eventually(objects).Should(Equal(before))
	},
	Entry("with kustomize", func() way {
		return kustomize(docs.block("Kustomize", 0), "config/default", "shop")
	}),
	Entry("from one file", func() way {
		install := docs.block("One file", 0)
		return way{install, install, docs.block("Keep the contacts", 1), docs.block("Remove everything", 1), []string{"shop"}}
	}),
	Entry("with Helm", func() way {
		return helm(docs.block("Helm", 0), "shop")
	}),
	Entry("with kustomize, for namespace shop", func() way {
		return kustomize(docs.block("Some namespaces with kustomize", 0), "config/namespaced", "shop")
	}),
	Entry("with kustomize, for two namespaces", func() way {
		return kustomize(docs.block("Some namespaces with kustomize", 1), "my-operator", "sales", "crm")
	}),
	Entry("with Helm, for two namespaces", func() way {
		return helm(docs.block("Some namespaces with Helm", 0), "shop", "crm")
	}),
)

var _ = Describe("The operator's settings", func() {
	flags := ContainElements("--opencx-rate-limit=60/1m", "--default-organization=crm/default")

	It("are arguments by a kustomization", func(ctx SpecContext) {
		folder := project()
		run(folder, docs.block("Settings", 0))
		DeferCleanup(func() { run(folder, "make undeploy OVERLAY=my-operator") })
		Expect(installed(ctx).Spec.Template.Spec.Containers[0].Args).To(flags)
	})

	It("are arguments by values of the chart", func(ctx SpecContext) {
		folder := project()
		run(folder, docs.block("Helm", 0))
		DeferCleanup(func() { run(folder, helm("").remove) })
		args := installed(ctx).Spec.Template.Spec.Containers[0].Args
		run(folder, docs.block("Settings", 1))
		changed := installed(ctx).Spec.Template.Spec.Containers[0]
		Expect(args).NotTo(flags)
		Expect(changed.Args).To(flags)
		Expect(changed.Image).To(Equal("registry.example.com/opencx-operator:v1"))
	})
})
