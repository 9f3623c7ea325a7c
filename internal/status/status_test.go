package status

import (
	"errors"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func show(conditions []metav1.Condition) (text string) {
	for _, c := range conditions {
		text += fmt.Sprintf("%s=%s:%s(%d) %s; ", c.Type, c.Status, c.Reason, c.ObservedGeneration, c.Message)
	}
	return text
}

func TestReconcilingAndStalledAreThereOnlyWhenTheyAreTrue(t *testing.T) {
	var conditions []metav1.Condition
	for _, step := range []struct {
		name       string
		generation int64
		ready      metav1.ConditionStatus
		reason     string
		abnormal   []string
		want       string
	}{
		{"before any generation", -1, "Unknown", "Waiting", []string{"Reconciling"}, "Ready=Unknown:Waiting(0) m; Reconciling=True:Waiting(0) m; "},
		{"it goes on by itself", 1, "False", "ServerError", []string{"Reconciling"}, "Ready=False:ServerError(1) m; Reconciling=True:ServerError(1) m; "},
		{"somebody has to act", 1, "False", "ServerError", []string{"Stalled"}, "Ready=False:ServerError(1) m; Stalled=True:ServerError(1) m; "},
		{"all is well", 2, "True", "Synced", nil, "Ready=True:Synced(2) m; "},
		{"it is held", 3, "Unknown", "Suspended", nil, "Ready=Unknown:Suspended(3) m; "},
	} {
		Mark(&conditions, step.generation, step.ready, step.reason, "m", step.abnormal...)
		if got := show(conditions); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
	}
}

func TestAConditionIsAsOldAsItsReason(t *testing.T) {
	long := metav1.NewTime(time.Now().Add(-time.Hour))
	for name, tt := range map[string]struct {
		reason string
		old    bool
	}{
		"the same reason": {"ValueNotFound", true},
		"another reason":  {"APIKeyNotFound", false},
	} {
		conditions := []metav1.Condition{
			{Type: "Ready", Status: "False", Reason: "ValueNotFound", LastTransitionTime: long},
			{Type: "Reconciling", Status: "True", Reason: "ValueNotFound", LastTransitionTime: long},
		}
		Mark(&conditions, 1, metav1.ConditionFalse, tt.reason, "m", "Reconciling")
		if got := conditions[1].LastTransitionTime.Equal(&long); got != tt.old {
			t.Errorf("%s: Reconciling has kept its time = %t", name, got)
		}
		if got := conditions[0].LastTransitionTime.Equal(&long); !got {
			t.Errorf("%s: Ready has not changed, and has another time", name)
		}
	}
}

func TestSinceWhenAReasonIsTold(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	before := now.Add(-time.Minute)
	told := func(conditionType, reason string) []metav1.Condition {
		return []metav1.Condition{{Type: conditionType, Status: "True", Reason: reason, LastTransitionTime: metav1.NewTime(before)}}
	}
	for name, tt := range map[string]struct {
		conditions []metav1.Condition
		want       time.Time
	}{
		"it is not":                        {nil, now},
		"Reconciling tells it":             {told("Reconciling", "ValueNotFound"), before},
		"Reconciling tells something else": {told("Reconciling", "ServerError"), now},
		"Stalled has told it":              {told("Stalled", "ValueNotFound"), time.Time{}},
		"Stalled tells something else":     {told("Stalled", "Rejected"), now},
		"only Ready tells it":              {told("Ready", "ValueNotFound"), now},
	} {
		if got := Since(tt.conditions, "ValueNotFound", now); !got.Equal(tt.want) {
			t.Errorf("%s: since %s, want %s", name, got, tt.want)
		}
	}
}

func TestTimesHaveThePrecisionThatTheAPIServerKeeps(t *testing.T) {
	at := time.Date(2026, 1, 2, 4, 4, 5, 999, time.FixedZone("CET", 3600))
	if got, want := Time(at).Time, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAPatchLandsOnWhatItWasDecidedFor(t *testing.T) {
	type small struct {
		A string `json:"a"`
	}
	for name, tt := range map[string]struct {
		tests []Test
		want  string
	}{
		"the object alone": {nil, `[{"op":"test","path":"/metadata/uid","value":"u"},{"op":"add","path":"/status","value":{"a":"b"}}]`},
		"with what stands there": {[]Test{{"/status/attemptedHash", "h"}, {"/status/lastAttemptTime", nil}},
			`[{"op":"test","path":"/metadata/uid","value":"u"},{"op":"test","path":"/status/attemptedHash","value":"h"},` +
				`{"op":"test","path":"/status/lastAttemptTime","value":null},{"op":"add","path":"/status","value":{"a":"b"}}]`},
	} {
		patch, err := Patch("u", small{"b"}, tt.tests...)
		if err != nil {
			t.Fatal(err)
		}
		data, err := patch.Data(nil)
		if err != nil || string(data) != tt.want || patch.Type() != types.JSONPatchType {
			t.Errorf("%s: %s %s, %v; want %s", name, patch.Type(), data, err, tt.want)
		}
	}
	if _, err := Patch("u", func() {}); err == nil {
		t.Error("a status that is no JSON makes a patch")
	}
}

func TestAPatchMayBeOvertakenWhenATestFailsAndNotWhenTheSchemaDoes(t *testing.T) {
	kind := schema.GroupKind{Group: "contacts.open.cx", Kind: "OpenCXContact"}
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"nothing":                {nil, false},
		"a test of a JSON patch": {apierrors.NewInvalid(kind, "jane", nil), true},
		"the same, wrapped":      {fmt.Errorf("writing: %w", apierrors.NewInvalid(kind, "jane", nil)), true},
		"one without details":    {&apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonInvalid, Code: 422}}, true},
		"the schema":             {apierrors.NewInvalid(kind, "jane", field.ErrorList{field.TooLong(field.NewPath("status"), "", 1)}), false},
		"that it is gone":        {apierrors.NewNotFound(schema.GroupResource{}, "jane"), false},
		"no answer":              {errors.New("connection refused"), false},
	} {
		if got := MayBeOvertaken(tt.err); got != tt.want {
			t.Errorf("%s: may be overtaken = %t, want %t", name, got, tt.want)
		}
	}
}
