package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// receivedWidth is how much of what OpenCX has of a contact is shown.
const receivedWidth = 100

// view shows the contacts of the cluster beside what OpenCX has received.
type view struct {
	demo   *demo
	client client.Client
}

func newView(restConfig *rest.Config, d *demo) (*view, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	c, err := client.New(restConfig, client.Options{Scheme: scheme})
	return &view{demo: d, client: c}, err
}

// draw returns the view as text, and whether every contact is Ready.
func (v *view) draw(ctx context.Context) (text string, ready bool, err error) {
	var contacts v1alpha1.OpenCXContactList
	if err := v.client.List(ctx, &contacts); err != nil {
		return "", false, fmt.Errorf("listing contacts: %w", err)
	}
	var out bytes.Buffer
	table := tabwriter.NewWriter(&out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(table, "CONTACT\tREADY\tREASON\tPATCHES\tOPENCX HAS")
	messages := ""
	ready = len(contacts.Items) > 0
	for _, contact := range contacts.Items {
		condition := cmp.Or(meta.FindStatusCondition(contact.Status.Conditions, v1alpha1.ReadyCondition), &metav1.Condition{Status: "-", Reason: "-"})
		patches, received := v.received(contact.Spec.ContactID)
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", contact.Name, condition.Status, condition.Reason, patches, received)
		if condition.Message != "" && (condition.Status != metav1.ConditionTrue || contact.Status.ConsecutiveFailures > 0) {
			messages += fmt.Sprintf("\n%s: %s\n", contact.Name, condition.Message)
		}
		ready = ready && condition.Status == metav1.ConditionTrue && contact.Status.ObservedGeneration == contact.Generation
	}
	_ = table.Flush()
	return out.String() + messages, ready, nil
}

// received is how often the simulator accepted a contact, and what it has of
// it, without the values of overrides.
func (v *view) received(id string) (patches, fields string) {
	if v.demo.simulator == nil {
		return "?", "(not simulated)"
	}
	contact, ok := v.demo.simulator.Contact(id)
	if !ok {
		return "-", "no such contact"
	}
	data, err := json.Marshal(contact.Masked().Fields)
	if err != nil {
		return "?", err.Error()
	}
	text := []rune(string(data))
	if len(text) > receivedWidth {
		text = append(text[:receivedWidth-1], '…')
	}
	return fmt.Sprint(contact.Patches), string(text)
}

// next lists commands to try, ready to be copied. The test of this package runs
// every line that starts with two spaces, exactly as it is printed.
func (d *demo) next() string {
	next := []string{
		"Try next, in another terminal in this folder:",
		"  export KUBECONFIG=" + d.kubeconfig,
		"  export PATH=" + filepath.Dir(d.kubectl) + ":$PATH",
		"An edit:",
		`  kubectl patch oxc john-roe --type=merge -p '{"spec":{"name":"John Q. Roe"}}'`,
		"An address that OpenCX would refuse:",
		`  kubectl patch oxc jane-doe --type=merge -p '{"spec":{"email":"jane@localhost"}}'`,
		"A contact that OpenCX does not have:",
		"  kubectl apply -f hack/demo/missing-contact.yaml",
	}
	if d.simulator != nil {
		steer := "  bin/opencx-simulator --at=" + d.apiURL
		next = append(next,
			steer+" --add=nobody",
			"  kubectl annotate oxc nobody --overwrite contacts.open.cx/reconcile-at=now",
			"An error of OpenCX, which the next edit meets:",
			steer+` --inject='{"next":1,"status":500}'`,
			`  kubectl patch oxc john-roe --type=merge -p '{"spec":{"name":"John R."}}'`,
			"A 429, which silences the key:",
			steer+` --inject='{"next":1,"status":429,"headers":{"Retry-After":"10"}}'`,
			`  kubectl patch oxc john-roe --type=merge -p '{"spec":{"name":"John Roe"}}'`,
			"What OpenCX received: "+d.apiURL+"/ in a browser.",
		)
	}
	return strings.Join(append(next, "The operator's log: "+d.logFile), "\n") + "\n"
}

// readSamples returns the contact IDs of the manifests in a folder.
func readSamples(folder string) ([]string, error) {
	files, err := fs.Glob(os.DirFS(folder), "*.yaml")
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			return nil, err
		}
		var contact v1alpha1.OpenCXContact
		if err := yaml.Unmarshal(data, &contact); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		if contact.Kind == "OpenCXContact" {
			ids = append(ids, contact.Spec.ContactID)
		}
	}
	return ids, nil
}
