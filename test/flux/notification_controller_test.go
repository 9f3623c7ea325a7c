//go:build platforms

package flux

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

// notificationController is Flux's, with the rights that Flux gives it.
type notificationController struct {
	address string // of its events
	program string
	kill    func()
}

// fluxSystem is the namespace of Flux, and of what Flux's cluster role gives to
// notification-controller, that which it uses.
const fluxSystem = `
apiVersion: v1
kind: Namespace
metadata:
  name: flux-system
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: notification-controller
  namespace: flux-system
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: crd-controller
rules:
- apiGroups: [notification.toolkit.fluxcd.io]
  resources: ["*"]
  verbs: ["*"]
- apiGroups: [""]
  resources: [namespaces, secrets, configmaps, serviceaccounts]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: crd-controller
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: crd-controller
subjects:
- kind: ServiceAccount
  name: notification-controller
  namespace: flux-system
`

// newNotificationController builds Flux's controller, which start runs.
func newNotificationController(ctx context.Context) *notificationController {
	GinkgoHelper()
	address, err := operatortest.FreeAddress(ctx)
	Expect(err).NotTo(HaveOccurred())
	_, err = controlPlane.Kubectl(ctx, fluxSystem, "apply", "-f", "-")
	Expect(err).NotTo(HaveOccurred())
	return &notificationController{address: address, program: build(ctx, "notification-controller")}
}

// start runs it, and returns when it has read Alerts and Providers.
func (n *notificationController) start(ctx context.Context) {
	GinkgoHelper()
	config, err := clientcmd.LoadFromFile(controlPlane.Kubeconfig)
	Expect(err).NotTo(HaveOccurred())
	for _, user := range config.AuthInfos {
		user.Impersonate = "system:serviceaccount:flux-system:notification-controller"
	}
	kubeconfig := filepath.Join(GinkgoT().TempDir(), "kubeconfig")
	Expect(clientcmd.WriteToFile(*config, kubeconfig)).To(Succeed())
	health, err := operatortest.FreeAddress(ctx)
	Expect(err).NotTo(HaveOccurred())
	var logFile string
	logFile, n.kill = startController(kubeconfig, "flux-system", n.program, "--metrics-addr=0", "--health-addr="+health,
		"--events-addr="+n.address, "--receiverAddr=127.0.0.1:0")
	const controllers = 3
	Eventually(func() int {
		text, err := os.ReadFile(logFile)
		Expect(err).NotTo(HaveOccurred())
		return strings.Count(string(text), "Starting workers")
	}).WithTimeout(2 * time.Minute).Should(Equal(controllers))
}

// restart has it read anew what it may read.
func (n *notificationController) restart(ctx context.Context) {
	GinkgoHelper()
	n.kill()
	n.start(ctx)
}
