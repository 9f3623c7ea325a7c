package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

// statusTimeout bounds one status write. Two of them and opencx.CallTimeout stay
// under the 30 s that controller-runtime gives workers to end.
const statusTimeout = 9 * time.Second

// write stores told. A write that fails is made up for at the next look, before
// anything is decided.
func (r *ContactReconciler) write(ctx context.Context, f *facts, told v1alpha1.OpenCXContactStatus) error {
	err := r.store(ctx, f, told)
	if err != nil && !errors.Is(err, errOvertaken) {
		r.memory.wrote(f.contact, "", &told)
	}
	return err
}

// store replaces the stored status by told, in one patch, and says so where people
// look. Afterwards f is as it is stored.
func (r *ContactReconciler) store(ctx context.Context, f *facts, told v1alpha1.OpenCXContactStatus) error {
	stored := f.contact
	if equality.Semantic.DeepEqual(stored.Status, told) {
		r.memory.wrote(stored, "", nil)
		return nil
	}
	version, err := r.patch(ctx, stored, told)
	switch {
	case err == nil:
		after := *stored
		after.ResourceVersion, after.Status = version, told
		f.contact, f.status, f.state = &after, told, stateOf(&told)
		r.memory.wrote(stored, version, nil)
		r.seen(ctx, client.ObjectKeyFromObject(stored))
		r.tell(ctx, stored, &after)
		return nil
	case apierrors.IsNotFound(err), errors.Is(err, errOvertaken):
		// It is another contact by now, or another process has attempted it: what
		// this one knows is worth nothing. Or its own write was taken, and the answer lost.
		r.memory.overtaken(stored, version)
		return errOvertaken
	}
	return fmt.Errorf("writing status: %w", err)
}

// seen has the memory of a contact forget what the cache tells. It is called when the cache
// has another version, and when a write was answered: whichever comes last.
func (r *ContactReconciler) seen(ctx context.Context, name types.NamespacedName) {
	contact := &v1alpha1.OpenCXContact{}
	if err := r.cache.Get(ctx, name, contact, client.UnsafeDisableDeepCopy); err == nil {
		r.memory.cached(contact)
	}
}

var errOvertaken = errors.New("the contact is another one than when it was looked at")

// patch stores told, unless contact is another one by now, or another process has
// attempted it since it was read. It returns the version that this made, or, with
// errOvertaken, the one that overtook it.
func (r *ContactReconciler) patch(ctx context.Context, contact *v1alpha1.OpenCXContact, told v1alpha1.OpenCXContactStatus) (version string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statusTimeout)
	defer cancel()
	var attempted any // null is also true of nothing
	if contact.Status.AttemptedHash != "" {
		attempted = contact.Status.AttemptedHash
	}
	version, err = r.replace(ctx, contact, told,
		status.Test{Path: "/status/attemptedHash", Value: attempted},
		status.Test{Path: "/status/lastAttemptTime", Value: contact.Status.LastAttemptTime})
	if !status.MayBeOvertaken(err) {
		return version, err
	}
	// A test compares how a time is spelt, and a webhook that denies answers alike. To
	// take these for another process would go on for ever.
	stored := &v1alpha1.OpenCXContact{}
	if readErr := r.live.Get(ctx, client.ObjectKeyFromObject(contact), stored); readErr != nil {
		return "", readErr
	}
	if stored.UID != contact.UID || stored.Status.AttemptedHash != contact.Status.AttemptedHash ||
		!stored.Status.LastAttemptTime.Equal(contact.Status.LastAttemptTime) {
		return stored.ResourceVersion, errOvertaken
	}
	return r.replace(ctx, contact, told, status.Test{Path: "/metadata/resourceVersion", Value: stored.ResourceVersion})
}

// replace makes told the status of contact in one request, if the tests hold.
func (r *ContactReconciler) replace(ctx context.Context, contact *v1alpha1.OpenCXContact, told v1alpha1.OpenCXContactStatus, tests ...status.Test) (version string, err error) {
	patch, err := status.Patch(contact.UID, told, tests...)
	if err != nil {
		return "", err
	}
	if err := r.Lease(0); err != nil {
		return "", err
	}
	// Only the metadata comes back: the rest is known.
	after := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: contact.Namespace, Name: contact.Name}}
	after.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("OpenCXContact"))
	err = r.cache.Status().Patch(ctx, after, patch)
	return after.ResourceVersion, err
}

// tell logs a change of state and records an event for it. The log has no text
// from OpenCX, which may hold personal data.
func (r *ContactReconciler) tell(ctx context.Context, before, after *v1alpha1.OpenCXContact) {
	r.tellDrift(ctx, before, after)
	was, is := stateOf(&before.Status), stateOf(&after.Status)
	if was.ready == is.ready && was.reason == is.reason || is.message == beingSent {
		return
	}
	details := []any{"contactID", after.Spec.ContactID, "ready", is.ready, "reason", is.reason}
	if e := after.Status.LastError; e != nil {
		details = append(details, "statusCode", e.StatusCode)
	}
	log.FromContext(ctx).Info("Contact changed state", details...)
	eventType := corev1.EventTypeNormal
	switch {
	case is.reason == v1alpha1.WaitingReason,
		is.reason == v1alpha1.SyncedReason && (was.ready == "" || was.reason == v1alpha1.WaitingReason):
		// All goes as it should. An import of thousands would bring as many
		// events, and cost the API server as much as their status.
		return
	case is.ready == metav1.ConditionFalse:
		eventType = corev1.EventTypeWarning
	}
	r.Recorder.Eventf(after, nil, eventType, is.reason, "UpdateContact", "%s", cutNote(eventNote(is, after.Status.LastError)))
}

// maxNote is the longest note of an event that the API server takes, in bytes. What names
// many things, as a map's key and a Secret's name, can be longer.
const maxNote = 1024

func cutNote(note string) string {
	if len(note) <= maxNote {
		return note
	}
	const more = "…"
	return strings.ToValidUTF8(note[:maxNote-len(more)], "") + more
}

// eventNote is what an event says of a state. Events are seen by more people than the
// contact is, so they have no text from OpenCX, nor from the network: that stands in
// status alone.
func eventNote(s state, e *v1alpha1.APIError) string {
	told := toldBy(e).message
	switch {
	case e != nil && strings.HasSuffix(s.message, told):
		return strings.TrimSuffix(s.message, told) + toldBy(&v1alpha1.APIError{StatusCode: e.StatusCode}).message
	case s.reason == v1alpha1.UnreachableReason:
		return "No answer came from OpenCX: see the status of the contact"
	case strings.HasPrefix(s.message, resendFailed):
		return resendFailed + "see its status"
	}
	return s.message
}
