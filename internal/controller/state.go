package controller

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// state is what a contact's conditions say. Whoever needs to know more of Drifted
// than its reason looks at that.
type state struct {
	// ready is "" before the operator has looked at the contact for the first time.
	ready   metav1.ConditionStatus
	reason  string
	message string
	// drift is the reason of Drifted, "" when there is no such condition.
	drift string
}

func stateOf(status *v1alpha1.OpenCXContactStatus) state {
	var s state
	if drifted := meta.FindStatusCondition(status.Conditions, v1alpha1.DriftedCondition); drifted != nil {
		s.drift = drifted.Reason
	}
	if ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ReadyCondition); ready != nil {
		s.ready, s.reason, s.message = ready.Status, ready.Reason, ready.Message
	}
	return s
}

func (s state) isReady() bool { return s.ready == metav1.ConditionTrue }

// tellsFailure says that the conditions tell how the last attempt failed.
func (s state) tellsFailure() bool {
	switch s.reason {
	case v1alpha1.RateLimitedReason, v1alpha1.ServerErrorReason, v1alpha1.UnreachableReason, v1alpha1.RejectedReason,
		v1alpha1.ContactNotFoundReason, v1alpha1.UnauthorizedReason, v1alpha1.ForbiddenReason:
		return true
	}
	return false
}
