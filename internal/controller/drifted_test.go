package controller

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/desired"
	"github.com/opencx-labs/opencx-operator/internal/drift"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

func TestWhatIsComparedAreTheValuesOfTheHash(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	server := fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "names", ResourceVersion: "7"}, Data: map[string]string{"jane": "Jane"}},
	).Build()
	baseURL, err := opencx.ParseBaseURL("https://api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	r := &ContactReconciler{Options: Options{OpenCX: opencx.NewClient(baseURL, "test", nil)}, cache: server, live: server, reads: newReads(1)}
	f := &facts{contact: &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "jane"}, Spec: v1alpha1.OpenCXContactSpec{
		NameFrom: &v1alpha1.ValueSource{ConfigMapKeyRef: &v1alpha1.KeySelector{Name: "names", Key: "jane"}},
	}}}
	for version, want := range map[string]error{"7": nil, "8": errStale} {
		f.hash = r.hash(f, desired.Versions{{Kind: desired.ConfigMapKind, Name: "names"}: {ResourceVersion: version}})
		f.listing = &drift.Listing{ListedContact: opencx.ListedContact{Name: new("Jane")}, Sources: drift.NewSources(server, new(atomic.Int64))}
		if _, _, err := r.differences(t.Context(), f); !errors.Is(err, want) {
			t.Errorf("the hash is of version %s: got %v, want %v", version, err, want)
		}
	}
}

func TestWhatIsComparedBeforeAnEditWasLookedAtIsOfTheEdit(t *testing.T) {
	f := known(neverSent, policy(v1alpha1.DriftReport))
	f.status.ObservedGeneration = f.contact.Generation - 1
	b := book{facts: f, told: *f.status.DeepCopy(), now: testTime}
	b.found([]string{"name"})
	f.status, f.state = b.told, stateOf(&b.told)
	told, _ := report(f, decide(f, testTime), result{}, testTime)
	if c := meta.FindStatusCondition(told.Conditions, v1alpha1.DriftedCondition); c.Reason != v1alpha1.FieldsDifferReason {
		t.Errorf("Drifted is %s: %s", c.Reason, c.Message)
	}
}

func TestWhatOpenCXListsIsOldWhenARequestHasHardlyEnded(t *testing.T) {
	const settling = 10 * time.Second
	ago := func(d time.Duration) *metav1.Time { return status.Time(testTime.Add(-d)) }
	for name, tt := range map[string]struct {
		ended  time.Time
		stored *metav1.Time
		want   bool
	}{
		"nothing was sent":                        {time.Time{}, nil, false},
		"long ago":                                {testTime.Add(-11 * time.Second), ago(11 * time.Second), false},
		"not long ago":                            {testTime.Add(-9 * time.Second), ago(9 * time.Second), true},
		"after it was listed":                     {testTime.Add(time.Second), ago(-time.Second), true},
		"not long ago, by a process before":       {time.Time{}, ago(9 * time.Second), true},
		"long ago, by a process before":           {time.Time{}, ago(12 * time.Second), false},
		"by a process whose clock was much ahead": {time.Time{}, ago(-time.Hour), false},
	} {
		f := known(func(f *facts) { f.status.LastAttemptTime = tt.stored })
		f.attemptEnded, f.listing = tt.ended, &drift.Listing{RequestedAt: testTime}
		if got := f.isRecent(settling); got != tt.want {
			t.Errorf("%s: recent = %t, want %t", name, got, tt.want)
		}
	}
}
