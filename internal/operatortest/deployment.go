package operatortest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

// DeployedNamespace is where the manifests put the operator.
const DeployedNamespace = "opencx-system"

// DeployedOrganization is what the operator looks for there.
var DeployedOrganization = types.NamespacedName{Namespace: DeployedNamespace, Name: "default"}

// Deployment is the operator as manifests deploy it: as its ServiceAccount, with what
// that may do and nothing else, and with work to do.
type Deployment struct {
	ControlPlane *ControlPlane
	Simulator    *Simulator
	Binary       string
	// APIKey is one that the simulator takes.
	APIKey string
	// Namespace is that of the contacts; Allowed says that they may use the organization.
	Namespace string
	Allowed   v1alpha1.AllowedNamespaces
	// Args and Env are the operator's.
	Args, Env []string
	// Folder is one for its kubeconfig and its log.
	Folder string

	scraper string // token of somebody who may read metrics
	edited  bool   // by Proceed, since Declare
}

// Authenticate gets a token of the operator's ServiceAccount, and one of the
// ServiceAccount scraper, who may read metrics.
func (d *Deployment) Authenticate(ctx context.Context) error {
	config, err := os.ReadFile(d.ControlPlane.Kubeconfig)
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.kubeconfig(), config, 0o600); err != nil {
		return err
	}
	operator, err := d.ControlPlane.Kubectl(ctx, "", "-n", DeployedNamespace, "create", "token", "opencx-controller-manager")
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"set-credentials", "operator", "--token=" + strings.TrimSpace(operator)},
		{"set-context", "--current", "--user=operator"},
	} {
		if _, err := d.ControlPlane.Kubectl(ctx, "", append([]string{"--kubeconfig", d.kubeconfig(), "config"}, args...)...); err != nil {
			return err
		}
	}
	d.scraper, err = d.ControlPlane.Kubectl(ctx, "", "-n", DeployedNamespace, "create", "token", "scraper")
	d.scraper = strings.TrimSpace(d.scraper)
	return err
}

func (d *Deployment) kubeconfig() string { return filepath.Join(d.Folder, "kubeconfig") }

// Launch starts the operator, and says where it serves metrics. That and its probes get
// addresses of this machine, which are not those of a Pod.
func (d *Deployment) Launch(ctx context.Context) (operator *Operator, metrics string, err error) {
	address, err := FreeAddress(ctx)
	if err != nil {
		return nil, "", err
	}
	operator, err = LaunchOperator(OperatorOptions{
		Binary: d.Binary, Kubeconfig: d.kubeconfig(), APIURL: d.Simulator.URL,
		Args: append(slices.Clone(d.Args), "--metrics-bind-address="+address), Env: d.Env,
		LogFile: filepath.Join(d.Folder, "operator.log"),
	})
	return operator, "https://" + address + "/metrics", err
}

// work is what the contacts need besides the organization, and they themselves.
func (d *Deployment) work() []client.Object {
	objects := []client.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "jane"}, StringData: map[string]string{"phone": "1"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "names"}, Data: map[string]string{"jane": "Jane"}},
		&v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Name: "refused"}, Spec: v1alpha1.OpenCXContactSpec{ContactID: "refused"}},
		&v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Name: "jane"}, Spec: v1alpha1.OpenCXContactSpec{
			ContactID: "jane",
			PhoneFrom: &v1alpha1.ValueSource{SecretKeyRef: &v1alpha1.KeySelector{Name: "jane", Key: "phone"}},
			NameFrom:  &v1alpha1.ValueSource{ConfigMapKeyRef: &v1alpha1.KeySelector{Name: "names", Key: "jane"}},
		}},
	}
	for _, object := range objects {
		object.SetNamespace(d.Namespace)
	}
	return objects
}

// Declare has OpenCX refuse one contact, and creates an organization, whose status nobody
// has written yet, and its contacts with their values.
func (d *Deployment) Declare(ctx context.Context) error {
	d.edited = false
	d.Simulator.ClearFaults()
	d.Simulator.ResetJournal()
	d.Simulator.InjectContact("refused", opencxtest.Answer{Status: 422, Body: `{"statusCode":422,"message":"no","error":"Unprocessable Entity"}`})
	err := d.ControlPlane.CreateOrganization(ctx, DeployedOrganization, d.APIKey, func(organization *v1alpha1.OpenCXOrganization) {
		organization.Spec.APIKeySecretRef.Name = "opencx-api-key"
		organization.Spec.AllowedNamespaces = d.Allowed.DeepCopy()
	})
	for _, object := range d.work() {
		if err == nil {
			err = d.ControlPlane.Client.Create(ctx, object)
		}
	}
	return err
}

// Remove deletes all that Declare created.
func (d *Deployment) Remove(ctx context.Context) error {
	var all error
	for _, object := range d.work() {
		all = errors.Join(all, d.ControlPlane.Client.Delete(ctx, object))
	}
	return errors.Join(all, d.ControlPlane.DeleteOrganization(ctx, DeployedOrganization))
}

// Proceed says what the operator has still to do, of everything that it is there for. Once
// the first values are accepted, it changes one, which is to be sent, too.
func (d *Deployment) Proceed(ctx context.Context, metrics string) error {
	if !d.accepted(`{"contact":{"phone":"1","name":"Jane"}}`) {
		return errors.New("the contact was not sent")
	}
	if err := d.reported(ctx); err != nil {
		return err
	}
	if !d.edited {
		d.edited = true
		if _, err := d.ControlPlane.Kubectl(ctx, "", "-n", d.Namespace, "patch", "secret", "jane", "-p", `{"stringData":{"phone":"2"}}`); err != nil {
			return err
		}
	}
	if !d.accepted(`{"contact":{"phone":"2","name":"Jane"}}`) {
		return errors.New("a changed value was not sent")
	}
	reserved := client.ObjectKey{Namespace: DeployedNamespace, Name: "opencx-operator-budget"}
	if err := d.ControlPlane.Client.Get(ctx, reserved, &corev1.ConfigMap{}); err != nil {
		return err
	}
	text, err := scrape(ctx, metrics, d.scraper)
	if err == nil && !strings.Contains(text, `opencx_contacts{organization="opencx-system/default",ready="True",reason="Synced"} 1`) {
		err = errors.New("the metrics lack the contact")
	}
	if _, open := scrape(ctx, metrics, "nobody"); err == nil && open == nil {
		err = errors.New("the metrics are open to everybody")
	}
	return err
}

func (d *Deployment) accepted(body string) bool {
	return slices.ContainsFunc(d.Simulator.Journal(), func(r opencxtest.Request) bool { return r.Status == 200 && string(r.Body) == body })
}

// reported says which status or event is missing.
func (d *Deployment) reported(ctx context.Context) error {
	contact, organization := &v1alpha1.OpenCXContact{}, &v1alpha1.OpenCXOrganization{}
	if err := d.ControlPlane.Client.Get(ctx, client.ObjectKey{Namespace: d.Namespace, Name: "jane"}, contact); err != nil {
		return err
	}
	if !meta.IsStatusConditionTrue(contact.Status.Conditions, v1alpha1.ReadyCondition) {
		return errors.New("its status was not written")
	}
	if err := d.ControlPlane.Client.Get(ctx, DeployedOrganization, organization); err != nil {
		return err
	}
	if !meta.IsStatusConditionTrue(organization.Status.Conditions, v1alpha1.ReadyCondition) {
		return errors.New("the organization's status was not written")
	}
	for namespace, reason := range map[string]string{d.Namespace: "Rejected", DeployedNamespace: "Usable"} {
		var events eventsv1.EventList
		if err := d.ControlPlane.Client.List(ctx, &events, client.InNamespace(namespace)); err != nil {
			return err
		}
		if !slices.ContainsFunc(events.Items, func(event eventsv1.Event) bool { return event.Reason == reason }) {
			return fmt.Errorf("there is no event %s in namespace %s", reason, namespace)
		}
	}
	return nil
}

func scrape(ctx context.Context, address, token string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	// The certificate of the endpoint is its own.
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	response, err := insecure.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("metrics are answered %d", response.StatusCode)
	}
	return string(text), err
}
