package controller

import (
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/opencx-labs/opencx-operator/internal/budget"
)

// One of the places in the queue may be hours from its end.
func TestAContactKeepsItsPlaceWhenItCannotBeLookedAtOnce(t *testing.T) {
	limit := budget.Limit{Requests: 1, Window: time.Minute}
	r := &ContactReconciler{memory: newMemory(), budget: budget.New(budget.Options{Limit: limit, Wake: func(budget.Asker) {}})}
	ask := budget.Ask{Organization: "crm/acme", Limit: limit, Key: budget.Key{Proven: true}, Class: budget.Sync}
	for _, name := range []string{"sends", "waits"} {
		ask.Asker = budget.Asker{Namespace: "shop", Name: name}
		r.budget.Take(ask)
	}
	waits := func(when string) {
		t.Helper()
		if got := r.budget.Look("crm/acme").Waiting[budget.Sync]; got != 1 {
			t.Errorf("%s: %d wait, want 1", when, got)
		}
	}
	waits("at first")
	away := errors.New("the API server is away")
	if err := r.leave(t.Context(), types.NamespacedName{Namespace: "shop", Name: "waits"}, away); !errors.Is(err, away) {
		t.Error(err)
	}
	waits("when it could not be read")
	f := known(wasEdited)
	f.contact.Name = "waits"
	if _, err := r.act(t.Context(), &f, decision{step: load, unsent: true}); err != nil {
		t.Error(err)
	}
	waits("when its values could not be read")
}
