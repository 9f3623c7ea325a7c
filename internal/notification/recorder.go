package notification

import (
	"fmt"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/reference"
)

// recorder records events with Kubernetes, and has them posted.
type recorder struct {
	events.EventRecorder
	poster     *Poster
	controller string
}

// Recorder returns a recorder that does what kubernetes does, and has each event posted
// as well. controller is the name of who reports.
func (p *Poster) Recorder(kubernetes events.EventRecorder, controller string) events.EventRecorder {
	return recorder{kubernetes, p, controller}
}

// Eventf implements events.EventRecorder.
func (r recorder) Eventf(regarding, related runtime.Object, eventType, reason, action, note string, args ...any) {
	r.EventRecorder.Eventf(regarding, related, eventType, reason, action, note, args...)
	object, err := reference.GetReference(r.poster.scheme, regarding)
	if err != nil {
		r.poster.lose(fmt.Errorf("naming the object of an event: %w", err))
		return
	}
	severity := eventv1.EventSeverityInfo
	if eventType == corev1.EventTypeWarning {
		severity = eventv1.EventSeverityError
	}
	// The object's annotations, of which Flux's controllers add some, may be private.
	r.poster.enqueue(&eventv1.Event{
		InvolvedObject:      *object,
		Severity:            severity,
		Timestamp:           metav1.Now(),
		Message:             fmt.Sprintf(note, args...),
		Reason:              reason,
		ReportingController: r.controller,
		ReportingInstance:   r.poster.instance,
	})
}
