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
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// receivedWidth is how much of what OpenCX has of a contact is shown.
const receivedWidth = 100

// organizationName is that of the samples' organization.
var organizationName = client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: "default"}

// draw shows the organization, and the contacts of the cluster beside what OpenCX
// has received. ready is whether all of them are Ready.
func (d *demo) draw(ctx context.Context) (text string, ready bool, err error) {
	organization, organizationReady, err := d.drawOrganization(ctx)
	if err != nil {
		return "", false, err
	}
	contacts, contactsReady, err := d.drawContacts(ctx)
	return organization + "\n" + contacts, organizationReady && contactsReady, err
}

// drawOrganization returns the organization of the samples in one line, and in
// another why it is not Ready.
func (d *demo) drawOrganization(ctx context.Context) (text string, ready bool, err error) {
	organization, err := d.organization(ctx)
	// One that somebody deleted shows as one that nobody has looked at.
	if client.IgnoreNotFound(err) != nil {
		return "", false, err
	}
	condition := conditionOf(organization.Status.Conditions, v1alpha1.ReadyCondition)
	counts := cmp.Or(organization.Status.Contacts, &v1alpha1.ContactCounts{})
	text = fmt.Sprintf("Organization %s: Ready %s, %s; counted every ten seconds: %s contacts, %s ready, %s waiting\n",
		organizationName.Name, condition.Status, condition.Reason, show(counts.Total), show(counts.Ready), show(counts.Waiting))
	if condition.Message != "" && condition.Status != metav1.ConditionTrue {
		text += condition.Message + "\n"
	}
	return text, condition.Status == metav1.ConditionTrue && organization.Status.ObservedGeneration == organization.Generation, nil
}

// organization is that of the samples.
func (d *demo) organization(ctx context.Context) (*v1alpha1.OpenCXOrganization, error) {
	organization := &v1alpha1.OpenCXOrganization{}
	if err := d.controlPlane.Client.Get(ctx, organizationName, organization); err != nil {
		return organization, fmt.Errorf("reading the organization: %w", err)
	}
	return organization, nil
}

// countdown is a line that says when OpenCX is next asked what has changed, while that is
// to come.
func (d *demo) countdown(ctx context.Context) string {
	organization, err := d.organization(ctx)
	if left := time.Until(nextLook(organization)).Round(time.Second); err == nil && left > 0 {
		return fmt.Sprintf("Next look at what has changed in OpenCX: in %s.\n", left)
	}
	return ""
}

// drawContacts returns the contacts as a table, and what is wrong with them.
func (d *demo) drawContacts(ctx context.Context) (text string, ready bool, err error) {
	var contacts v1alpha1.OpenCXContactList
	if err := d.controlPlane.Client.List(ctx, &contacts); err != nil {
		return "", false, fmt.Errorf("listing contacts: %w", err)
	}
	var out bytes.Buffer
	table := tabwriter.NewWriter(&out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(table, "CONTACT\tREADY\tREASON\tDRIFTED\tPATCHES\tOPENCX HAS")
	messages := ""
	ready = len(contacts.Items) > 0
	for _, contact := range contacts.Items {
		condition := conditionOf(contact.Status.Conditions, v1alpha1.ReadyCondition)
		patches, received := d.received(contact.Spec.ContactID)
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", contact.Name, condition.Status, condition.Reason, conditionOf(contact.Status.Conditions, v1alpha1.DriftedCondition).Status, patches, received)
		if condition.Message != "" && (condition.Status != metav1.ConditionTrue || contact.Status.ConsecutiveFailures > 0) {
			messages += fmt.Sprintf("\n%s: %s\n", contact.Name, condition.Message)
		}
		ready = ready && condition.Status == metav1.ConditionTrue && contact.Status.ObservedGeneration == contact.Generation
	}
	_ = table.Flush()
	return out.String() + messages, ready, nil
}

// conditionOf returns a condition, or one that shows that there is none yet.
func conditionOf(conditions []metav1.Condition, kind string) *metav1.Condition {
	return cmp.Or(meta.FindStatusCondition(conditions, kind), &metav1.Condition{Status: "-", Reason: "-"})
}

// show shows a count, or that there is none yet.
func show(count *int32) string {
	if count == nil {
		return "-"
	}
	return fmt.Sprint(*count)
}

// received is how often the simulator accepted a contact, and what it has of
// it, without the values of overrides.
func (d *demo) received(id string) (patches, fields string) {
	if d.simulator == nil {
		return "?", "(not simulated)"
	}
	contact, ok := d.simulator.Contact(id)
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
		"  export KUBECONFIG=" + d.controlPlane.Kubeconfig,
		"  export PATH=" + filepath.Dir(d.controlPlane.KubectlPath) + ":$PATH",
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
			"An edit in OpenCX, which is put right within a minute or so, and less often when the same contact is edited again:",
			steer+" --edit="+d.samples["support-desk"]+` --to='{"name":"Help desk"}'`,
			"An error of OpenCX, which the next edit meets:",
			steer+` --inject='{"next":1,"status":500}'`,
			`  kubectl patch oxc john-roe --type=merge -p '{"spec":{"name":"John R."}}'`,
			"A 429, which silences the organization:",
			steer+` --inject='{"next":1,"status":429,"headers":{"Retry-After":"10"}}'`,
			`  kubectl patch oxc john-roe --type=merge -p '{"spec":{"name":"John Roe"}}'`,
			"What OpenCX received: "+d.apiURL+"/ in a browser.",
		)
	}
	return strings.Join(append(next, "The operator's log: "+d.logFile), "\n") + "\n"
}

// readSamples returns the contact IDs of the manifests in a folder by name.
func readSamples(folder string) (map[string]string, error) {
	files, err := fs.Glob(os.DirFS(folder), "*.yaml")
	if err != nil {
		return nil, err
	}
	ids := map[string]string{}
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
			ids[contact.Name] = contact.Spec.ContactID
		}
	}
	return ids, nil
}
