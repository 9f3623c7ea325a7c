package controller

import (
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
	"github.com/opencx-labs/opencx-operator/internal/ownership"
)

// A contact may be what makes a proxy close the connections that others have warmed up.
func TestAConnectionIsLostByBadLuckOnlyOnceInARow(t *testing.T) {
	simulator := operatortest.StartSimulator(opencxtest.Options{Keys: []string{"ocx_key"}, AcceptAnyContact: true})
	t.Cleanup(simulator.Close)
	url, err := opencx.ParseBaseURL(simulator.URL)
	if err != nil {
		t.Fatal(err)
	}
	key, err := opencx.NewAPIKey("ocx_key")
	if err != nil {
		t.Fatal(err)
	}
	r := &ContactReconciler{
		Options: Options{OpenCX: opencx.NewClient(url, "test", func(opencx.Call) {})}, memory: newMemory(),
		budget:  budget.New(budget.Options{Limit: budget.DefaultLimit, CallTimeout: opencx.CallTimeout, MaxInFlight: 10, Wake: func(budget.Asker) {}}),
		flights: ownership.NewFlights(func(types.NamespacedName) {}),
	}
	f := known(wasEdited, isLoaded)
	f.contact.Spec.ContactID = "jane"
	f.loaded.key.APIKey, f.loaded.key.Proven = key, true
	for i, step := range []struct {
		name, want string
		answer     opencxtest.Answer
	}{
		{"bad luck", "lost", opencxtest.Answer{Break: opencxtest.Reset}},
		{"an answer", v1alpha1.SyncedReason, opencxtest.Answer{Status: 200}},
		{"bad luck again", "lost", opencxtest.Answer{Break: opencxtest.Reset}},
		{"a second time in a row", v1alpha1.UnreachableReason, opencxtest.Answer{Break: opencxtest.Reset}},
		{"an answer", v1alpha1.SyncedReason, opencxtest.Answer{Status: 200}},
	} {
		if err := r.OpenCX.UpdateContact(t.Context(), key, "neighbour", opencx.Contact{}.Payload()); err != nil {
			t.Fatal(err)
		}
		simulator.InjectContact("jane", step.answer)
		asker := budget.Asker{Namespace: "shop", Name: "jane"}
		slot, wait := r.budget.Take(budget.Ask{Organization: "crm/acme", Limit: budget.DefaultLimit, Key: f.loaded.key.Key, Asker: asker, Class: budget.Edit, Past: budget.Accepted})
		if slot == nil {
			t.Fatalf("no slot before %s", time.Until(wait.At))
		}
		came, err := r.send(t.Context(), slot, &ownership.Flight{}, &f)
		got := "lost"
		if came.answer != nil {
			got = came.answer.reason
		}
		if got != step.want || errors.Is(err, errLost) != (step.want == "lost") {
			t.Errorf("%d, %s: %s, error %v; want %s", i, step.name, got, err, step.want)
		}
	}
}
