// Package status is how this operator writes the status of its resources: conditions
// as kstatus defines them, in one patch that lands on what it was decided for.
package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// Problem says why something cannot be used, without any value.
type Problem struct {
	// Reason is that of the conditions.
	Reason  string
	Message string
	// Missing says that it may be on its way, as when a manifest and its Secret are
	// applied together.
	Missing bool
}

// Mark sets Ready, and of Reconciling and Stalled those that are named in abnormal.
// The others become absent, as kstatus wants it. generation is the one that the
// conditions speak of; -1 stands for none.
func Mark(conditions *[]metav1.Condition, generation int64, ready metav1.ConditionStatus, reason, message string, abnormal ...string) {
	set := func(conditionType string, status metav1.ConditionStatus) {
		meta.SetStatusCondition(conditions, metav1.Condition{
			Type: conditionType, Status: status, Reason: reason, Message: message, ObservedGeneration: max(0, generation),
		})
	}
	kstatus := []string{v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition}
	for _, conditionType := range kstatus {
		// The time since which one is True is that of its reason.
		if old := meta.FindStatusCondition(*conditions, conditionType); old != nil && old.Reason != reason {
			meta.RemoveStatusCondition(conditions, conditionType)
		}
	}
	set(v1alpha1.ReadyCondition, ready)
	for _, conditionType := range kstatus {
		if len(abnormal) == 1 && abnormal[0] == conditionType {
			set(conditionType, metav1.ConditionTrue)
		} else {
			meta.RemoveStatusCondition(conditions, conditionType)
		}
	}
}

// Grace is how long something missing is taken for one that is about to be created.
const Grace = 2 * time.Minute

// Since is from when on conditions have told a reason with Reconciling, now when they
// do not; zero when Stalled has told it, which is long enough.
func Since(conditions []metav1.Condition, reason string, now time.Time) time.Time {
	if c := meta.FindStatusCondition(conditions, v1alpha1.StalledCondition); c != nil && c.Reason == reason {
		return time.Time{}
	}
	if c := meta.FindStatusCondition(conditions, v1alpha1.ReconcilingCondition); c != nil && c.Reason == reason {
		return c.LastTransitionTime.Time
	}
	return now
}

// Time has the precision that the API server keeps: seconds.
func Time(t time.Time) *metav1.Time {
	return &metav1.Time{Time: t.UTC().Truncate(time.Second)}
}

// Test is what must be true of an object for a patch to be made.
type Test struct {
	// Path is a JSON pointer into the object.
	Path string
	// Value is what must stand there; nil is also true of nothing.
	Value any
}

// Patch replaces the status of the object of that UID. It asks for no version,
// because labels may change at any time; but an object that was deleted and created
// again is another one, and tests tell whether somebody else has written meanwhile.
// The API server ignores a UID in a merge patch of status, so this is a JSON patch.
func Patch(uid types.UID, status any, tests ...Test) (client.Patch, error) {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	operations := []operation{{"test", "/metadata/uid", uid}}
	for _, test := range tests {
		operations = append(operations, operation{"test", test.Path, test.Value})
	}
	data, err := json.Marshal(append(operations, operation{"add", "/status", status}))
	if err != nil {
		return nil, fmt.Errorf("encoding status: %w", err)
	}
	return client.RawPatch(types.JSONPatchType, data), nil
}

// MayBeOvertaken says that a patch failed as it does when a test fails: the API server
// answers 422 without the causes that a violation of the schema has. A webhook may
// answer so, too, and a test of a time fails when it is only spelt otherwise.
func MayBeOvertaken(err error) bool {
	answer, is := errors.AsType[*apierrors.StatusError](err)
	if !is || !apierrors.IsInvalid(err) {
		return false
	}
	details := answer.ErrStatus.Details
	return details == nil || len(details.Causes) == 0
}
