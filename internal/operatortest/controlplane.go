// Package operatortest starts what tests, benchmark and demo run the operator
// with: a real kube-apiserver with etcd, a simulated OpenCX, and the operator's
// real binary.
package operatortest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// ControlPlane is a running kube-apiserver with etcd.
type ControlPlane struct {
	// Config is that of an administrator, whose requests nothing throttles.
	Config *rest.Config
	// Scheme knows Kubernetes' own kinds and those of the operator, as does Client.
	Scheme *runtime.Scheme
	Client client.Client
	// Folder is gone after Stop. Kubeconfig, a path, is in it; logs may be too.
	Folder      string
	Kubeconfig  string
	KubectlPath string
	// AuditLog is the path of a file in Folder that has an audit.k8s.io/v1 Event for each
	// request; only StartAuditedControlPlane has one written.
	AuditLog string

	environment *envtest.Environment
	restarted   map[string]func() // by program: ends what Restart has started
}

// StartControlPlane starts one with the CRDs of the given folders. With none,
// nothing is installed.
func StartControlPlane(crds ...string) (*ControlPlane, error) {
	return start(func(*ControlPlane) error { return nil }, crds)
}

// auditPolicy has each request noted once it is answered, and a watch when it begins, too.
const auditPolicy = `{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [{"level": "Metadata"}]}`

// StartAuditedControlPlane is StartControlPlane for who has to know who asks for what.
func StartAuditedControlPlane(crds ...string) (*ControlPlane, error) {
	return start(func(c *ControlPlane) error {
		c.AuditLog = filepath.Join(c.Folder, "audit.log")
		policy := filepath.Join(c.Folder, "audit-policy.json")
		c.environment.ControlPlane.GetAPIServer().Configure().
			Set("audit-policy-file", policy).Set("audit-log-path", c.AuditLog)
		return os.WriteFile(policy, []byte(auditPolicy), 0o600)
	}, crds)
}

func start(configure func(*ControlPlane) error, crds []string) (_ *ControlPlane, err error) {
	c := &ControlPlane{Scheme: runtime.NewScheme(), restarted: map[string]func(){}, environment: &envtest.Environment{
		CRDDirectoryPaths:     crds,
		ErrorIfCRDPathMissing: true,
		// Never a cluster that the environment names: tests delete what they find.
		UseExistingCluster: new(false),
	}}
	if err := errors.Join(clientgoscheme.AddToScheme(c.Scheme), v1alpha1.AddToScheme(c.Scheme)); err != nil {
		return nil, err
	}
	if c.Folder, err = os.MkdirTemp("", "opencx-control-plane-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	if err := configure(c); err != nil {
		return nil, err
	}
	if c.Config, err = c.environment.Start(); err != nil {
		return nil, fmt.Errorf("starting the control plane: %w; is KUBEBUILDER_ASSETS set, as make demo, make bench and make test set it? (make test PKG=./api/v1alpha1 tests one package)", err)
	}
	c.Config.QPS = -1
	c.KubectlPath = c.environment.ControlPlane.KubectlPath
	c.Kubeconfig = filepath.Join(c.Folder, "kubeconfig")
	if err := os.WriteFile(c.Kubeconfig, c.environment.KubeConfig, 0o600); err != nil {
		return nil, err
	}
	if c.Client, err = client.New(c.Config, client.Options{Scheme: c.Scheme}); err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return c, nil
}

// Stop stops it and leaves nothing behind.
func (c *ControlPlane) Stop() error {
	if end := c.restarted["kube-apiserver"]; end != nil {
		end()
	}
	err := c.environment.Stop() // before etcd, without which the API server does not end in time
	if end := c.restarted["etcd"]; end != nil {
		end()
	}
	return errors.Join(err, os.RemoveAll(c.Folder))
}

// Kubectl runs the control plane's own kubectl as an administrator. The output
// is what it printed, errors included.
func (c *ControlPlane) Kubectl(ctx context.Context, stdin string, args ...string) (output string, err error) {
	command := exec.CommandContext(ctx, c.KubectlPath, append([]string{"--kubeconfig", c.Kubeconfig}, args...)...)
	command.Stdin = strings.NewReader(stdin)
	printed, err := command.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("running kubectl %s: %w\n%s", strings.Join(args, " "), err, printed)
	}
	return string(printed), err
}
