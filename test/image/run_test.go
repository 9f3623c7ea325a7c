//go:build image

package image

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

const apiKey = "ocx_live_image"

// secrets is where a Pod has the files that Kubernetes gives it.
const secrets = "/var/run/secrets/opencx.test"

// container writes a program that runs the image's entrypoint as Kubernetes runs it: as
// the image's user, in a root that cannot be written, with no more than the given folder
// mounted into it.
func container(mounted string) string {
	GinkgoHelper()
	Expect(os.MkdirAll(built.Root+secrets, 0o755)).To(Succeed()) // as a container engine makes the target of a mount
	script := filepath.Join(GinkgoT().TempDir(), "container")
	text := fmt.Sprintf(`#!/bin/sh
exec unshare --mount --propagation private sh -ec '
mount --bind %[1]s %[1]s
mount --bind %[2]s %[1]s%[3]s
mount -o remount,bind,ro %[1]s
mount -o remount,bind,ro %[1]s%[3]s
exec setpriv --no-new-privs chroot --userspec=%[4]s --groups= %[1]s %[5]s "$@"' container "$@"
`, built.Root, mounted, secrets, built.Config.Config.User, strings.Join(built.Config.Config.Entrypoint, " "))
	Expect(os.WriteFile(script, []byte(text), 0o755)).To(Succeed())
	return script
}

var _ = Describe("A container of the image", func() {
	DescribeTable("prints", func(ctx SpecContext, flag, want string) {
		output, err := exec.CommandContext(ctx, container(GinkgoT().TempDir()), flag).CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(output))
		Expect(string(output)).To(HavePrefix(want))
	},
		Entry("its version", "--version", "opencx-operator "+version+"\n"),
		Entry("its flags", "--help", "The OpenCXContact operator keeps"),
	)

	It("does its work on a read-only file system, as a user and group without rights", func(ctx SpecContext) {
		controlPlane, err := operatortest.StartControlPlane(filepath.Join(root, "config", "crd", "bases"))
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
		simulator := operatortest.StartSimulator(opencxtest.Options{Keys: []string{apiKey}, AcceptAnyContact: true})
		DeferCleanup(simulator.Close)
		organization := types.NamespacedName{Namespace: metav1.NamespaceDefault, Name: "default"}
		Expect(controlPlane.CreateOrganization(ctx, organization, apiKey)).To(Succeed())
		contact := &v1alpha1.OpenCXContact{
			ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "jane-doe"},
			Spec:       v1alpha1.OpenCXContactSpec{ContactID: "jane-doe", Name: new("Jane Doe")},
		}
		Expect(controlPlane.Client.Create(ctx, contact)).To(Succeed())

		kubeconfig, err := os.ReadFile(controlPlane.Kubeconfig)
		Expect(err).NotTo(HaveOccurred())
		mounted := GinkgoT().TempDir()
		Expect(os.Chmod(mounted, 0o755)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(mounted, "kubeconfig"), kubeconfig, 0o444)).To(Succeed())
		operator, err := operatortest.StartOperator(ctx, operatortest.OperatorOptions{
			Binary: container(mounted), Kubeconfig: secrets + "/kubeconfig", APIURL: simulator.URL,
			Args:    []string{"--leader-elect", "--metrics-bind-address=127.0.0.1:0", "--health-probe-bind-address=127.0.0.1:0"},
			LogFile: filepath.Join(GinkgoT().TempDir(), "operator.log"),
		})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(operator.Kill)

		Eventually(func() bool {
			Expect(controlPlane.Client.Get(ctx, client.ObjectKeyFromObject(contact), contact)).To(Succeed())
			return meta.IsStatusConditionTrue(contact.Status.Conditions, v1alpha1.ReadyCondition)
		}).Should(BeTrue())
		Expect(simulator.Journal()).To(HaveLen(1))
		Expect(simulator.Journal()[0].Header.Get("User-Agent")).To(Equal("opencx-operator/" + version))
		expectNoRights(operator.Pid())
		Expect(operator.Stop()).To(Succeed())
	})
})

// expectNoRights looks at what the kernel says of a process.
func expectNoRights(pid int) {
	GinkgoHelper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	Expect(err).NotTo(HaveOccurred())
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	Expect(err).NotTo(HaveOccurred())
	const id = "\t65532\t65532\t65532\t65532\n"
	for _, line := range []string{"Name:\tmanager\n", "Uid:" + id, "Gid:" + id, "Groups:\t \n", "CapEff:\t0000000000000000\n", "CapPrm:\t0000000000000000\n", "NoNewPrivs:\t1\n"} {
		Expect(string(status)).To(ContainSubstring(line))
	}
	// The mount points are those that the process sees: / is the image's root.
	Expect(string(mounts)).To(MatchRegexp(`(?m)^\S+ \S+ \S+ \S+ / ro[, ]`))
	Expect(string(mounts)).NotTo(MatchRegexp(`(?m)^\S+ \S+ \S+ \S+ \S+ rw[, ]`))
}
