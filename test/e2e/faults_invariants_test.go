//go:build faults

package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest/history"
)

// allowances are what faults excuse.
type allowances struct {
	// repeats are requests for a state that OpenCX has accepted already: those whose
	// answer, or whose status, a fault has eaten.
	repeats int
}

// settle waits until OpenCX has all that is declared, and each status says so.
func (w *world) settle(ctx SpecContext) {
	GinkgoHelper()
	Eventually(ctx, func() error { return w.unsettled(ctx) }).WithTimeout(2 * patience).WithPolling(500 * time.Millisecond).Should(Succeed())
}

// unsettled names a contact that OpenCX has otherwise, or whose status does not say that
// OpenCX has it.
func (w *world) unsettled(ctx context.Context) error {
	var contacts v1alpha1.OpenCXContactList
	if err := k8s.List(ctx, &contacts); err != nil {
		return err
	}
	stored := map[types.NamespacedName]*v1alpha1.OpenCXContact{}
	for i := range contacts.Items {
		stored[client.ObjectKeyFromObject(&contacts.Items[i])] = &contacts.Items[i]
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var wrong []string
	for _, name := range w.names {
		want := map[string]any{"name": manifestValue(w.manifest[name]), "email": "jane@example.com", "custom_data": map[string]any{"plan": "basic"}}
		if takesSecret(name) {
			want["custom_data"].(map[string]any)["token"] = secretValue(w.secret[name.Namespace])
		}
		held, _ := w.simulator.Contact(contactID(name))
		contact := stored[name]
		switch {
		case contact == nil:
			wrong = append(wrong, fmt.Sprintf("%s is gone", name))
		case fmt.Sprint(held.Fields) != fmt.Sprint(want): // maps are printed in order
			wrong = append(wrong, fmt.Sprintf("OpenCX has %v of %s, want %v; its status is %s", held.Fields, name, want, told(contact)))
		case !saysSynced(contact):
			wrong = append(wrong, fmt.Sprintf("OpenCX has %s, and its status is %s", name, told(contact)))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d of %d contacts, such as: %s", len(wrong), len(w.names), wrong[0])
	}
	return nil
}

// saysSynced says that the status tells that OpenCX has what is declared now.
func saysSynced(contact *v1alpha1.OpenCXContact) bool {
	ready := meta.FindStatusCondition(contact.Status.Conditions, v1alpha1.ReadyCondition)
	return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == contact.Generation &&
		contact.Status.ObservedGeneration == contact.Generation && contact.Status.AppliedHash != ""
}

func told(contact *v1alpha1.OpenCXContact) string {
	text, _ := json.Marshal(contact.Status) // always marshals
	return fmt.Sprintf("of generation %d: %s", contact.Generation, text)
}

// journal is what OpenCX has received.
func (w *world) journal() []opencxtest.Request { return slices.Concat(w.before, w.simulator.Journal()) }

// requests are the journal's updates by contact, and the times of all requests.
func (w *world) requests() (byContact map[string][]history.Request, times []time.Time) {
	byContact = map[string][]history.Request{}
	for _, r := range w.journal() {
		times = append(times, r.Time)
		// What was cut on its way says nothing, and OpenCX takes nothing of it.
		if id, is := strings.CutPrefix(r.Path, "/contacts/"); is && json.Valid(r.Body) {
			byContact[id] = append(byContact[id], history.Request{
				At: r.Time, AcceptedAt: r.AppliedAt, Version: versionIn(r.Body), Sender: r.Header.Get("User-Agent"),
			})
		}
	}
	return byContact, times
}

// check checks what must be true after every scenario.
func (w *world) check(ctx SpecContext, allowed allowances) {
	GinkgoHelper()
	// What is in order stays so, and a request that comes late is counted.
	Consistently(ctx, w.unsettled).WithTimeout(w.limit.Window).WithPolling(w.limit.Window / 3).Should(Succeed())
	byContact, times := w.requests()
	Expect(history.MostIn(times, w.limit.Window)).To(BeNumerically("<=", w.limit.Requests), "in a window")

	w.mu.Lock()
	defer w.mu.Unlock()
	var stale, repeats []string
	var untrue time.Duration
	now := time.Now()
	for _, excuse := range w.excused {
		Expect(excuse[1]).NotTo(BeZero(), "an excuse that began at %s goes on", excuse[0])
	}
	for _, name := range slices.SortedFunc(maps.Keys(w.contacts), func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) }) {
		contact := w.contacts[name]
		contact.Requests = byContact[contactID(name)]
		for _, r := range contact.Stale() {
			stale = append(stale, fmt.Sprintf("%s: %+v after %+v", name, r, contact.Requests))
		}
		for _, r := range contact.Repeats() {
			repeats = append(repeats, fmt.Sprintf("%s: %+v among %+v", name, r, contact.Requests))
		}
		long := contact.Untrue(w.excused, now)
		untrue = max(untrue, long)
		// Two seconds are for the watch that tells us, on a busy machine.
		Expect(long).To(BeNumerically("<", 12*time.Second), "%s was Ready with an unsent change; now it is %+v; excused is %v; %+v", name, w.kept[name], w.excused, contact)
	}
	AddReportEntry("what happened", fmt.Sprintf(
		"%d requests for %d contacts; at most %d in a window; %d repeated (%d are excused), %d stale; Ready over an unsent change for %s at most",
		len(times), len(w.contacts), history.MostIn(times, w.limit.Window), len(repeats), allowed.repeats, len(stale), untrue.Round(time.Millisecond)))
	Expect(stale).To(BeEmpty(), "older states were sent after newer ones: %s", few(stale))
	Expect(len(repeats)).To(BeNumerically("<=", allowed.repeats), "states were sent again: %s", few(repeats))
	w.showsNoSecret(ctx)
}

// few is the beginning of a list.
func few(texts []string) string { return strings.Join(texts[:min(3, len(texts))], "\n") }

// showsNoSecret looks for the marker wherever operators write, but for Secrets.
func (w *world) showsNoSecret(ctx SpecContext) {
	GinkgoHelper()
	texts := map[string]string{}
	for i, r := range w.replicas {
		texts[fmt.Sprintf("the log of replica %d", i)] = r.Log()
		if r.works() {
			texts[fmt.Sprintf("the metrics of replica %d", i)] = r.scrape(ctx)
		}
	}
	var contacts v1alpha1.OpenCXContactList
	var organizations v1alpha1.OpenCXOrganizationList
	var happened eventsv1.EventList
	for _, list := range []client.ObjectList{&contacts, &organizations, &happened} {
		Expect(k8s.List(ctx, list)).To(Succeed())
		text, err := json.Marshal(list)
		Expect(err).NotTo(HaveOccurred())
		texts[fmt.Sprintf("%T", list)] = string(text)
	}
	reserved, err := controlPlane.Kubectl(ctx, "", "get", "configmaps,leases", "-A", "-o", "yaml")
	Expect(err).NotTo(HaveOccurred())
	texts["ConfigMaps and Leases"] = reserved
	forms := []string{marker, strings.ToLower(marker)}
	for before := range 3 { // bytes, of a longer text in base64
		coded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", before) + marker))
		// Without the digits that what stands before or behind it has a part in.
		forms = append(forms, coded[(4*before+2)/3:4*(before+len(marker))/3])
	}
	for where, text := range texts {
		for _, form := range forms {
			Expect(strings.Contains(text, form)).To(BeFalse(), "a secret is in %s", where)
		}
	}
	Expect(texts).To(HaveKeyWithValue(fmt.Sprintf("%T", &contacts), ContainSubstring(w.namespaces[0]))) // it looks at something
	Expect(w.replicas).NotTo(BeEmpty())
}

// scrape returns the metrics.
func (r *replica) scrape(ctx context.Context) string {
	GinkgoHelper()
	return string(fetch(ctx, r.metrics))
}

// fetch returns what a GET is answered.
func fetch(ctx context.Context, url string) []byte {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	Expect(err).NotTo(HaveOccurred())
	response, err := http.DefaultClient.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	Expect(response).To(HaveHTTPStatus(http.StatusOK))
	text, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	return text
}
