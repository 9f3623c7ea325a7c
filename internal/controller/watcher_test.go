package controller

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// follow calls see with every state of the world's contacts from now on, in the
// order in which the API server stored them. One that is deleted has its last
// state and a deletionTimestamp. stop ends that, after the call that is under way.
func (w *world) follow(ctx context.Context, see func(*v1alpha1.OpenCXContact)) (stop func()) {
	GinkgoHelper()
	watcher, err := client.NewWithWatch(controlPlane.Config, client.Options{Scheme: controlPlane.Scheme})
	Expect(err).NotTo(HaveOccurred())
	events, err := watcher.Watch(ctx, &v1alpha1.OpenCXContactList{}, client.InNamespace(w.namespace))
	Expect(err).NotTo(HaveOccurred())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range events.ResultChan() {
			contact, ok := event.Object.(*v1alpha1.OpenCXContact)
			if !ok {
				continue // the watch is cut off
			}
			if event.Type == watch.Deleted && contact.DeletionTimestamp.IsZero() {
				now := metav1.Now()
				contact.DeletionTimestamp = &now
			}
			see(contact)
		}
	}()
	return sync.OnceFunc(func() {
		events.Stop()
		<-done
	})
}

// followReady notes of every contact of the world each new word of Ready, and how
// many requests OpenCX had accepted by then.
func (w *world) followReady(ctx context.Context) (told func(name string) []readyTold) {
	GinkgoHelper()
	var mu sync.Mutex
	all := map[string][]readyTold{}
	stop := w.follow(ctx, func(contact *v1alpha1.OpenCXContact) {
		is := stateOf(&contact.Status)
		mu.Lock()
		defer mu.Unlock()
		before := all[contact.Name]
		if is.ready == "" || len(before) > 0 && before[len(before)-1].reason == is.reason {
			return
		}
		all[contact.Name] = append(before, readyTold{is.reason, len(w.accepted())})
	})
	DeferCleanup(stop)
	return func(name string) []readyTold {
		mu.Lock()
		defer mu.Unlock()
		return all[name]
	}
}

// readyTold is a reason of Ready, and how many requests had been accepted.
type readyTold struct {
	reason   string
	accepted int
}

// accepted lists the requests that OpenCX accepted, as "id body".
func (w *world) accepted() []string {
	lines := []string{}
	for _, line := range w.journal() {
		if request, ok := strings.CutPrefix(line, "200 "); ok {
			lines = append(lines, request)
		}
	}
	return lines
}

// promptly is the ten seconds within which status is promised to tell the truth,
// and what a busy machine needs besides.
const promptly = 12 * time.Second

// watchTruth compares, from now on, every contact of the world that is Ready=True
// with the request that OpenCX accepted last for its contactID, not with what the
// operator believes that to be. The function that it returns ends that, and tells
// the longest time for which any contact was untrue at a stretch. Contacts must
// have plain values alone.
func (w *world) watchTruth(ctx context.Context) (longest func() time.Duration) {
	GinkgoHelper()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	var worst time.Duration
	go func() {
		defer GinkgoRecover()
		defer close(done)
		since := map[types.UID]time.Time{}
		for ctx.Err() == nil {
			var contacts v1alpha1.OpenCXContactList
			if err := k8s.List(ctx, &contacts, client.InNamespace(w.namespace)); err != nil {
				Expect(ctx.Err()).To(HaveOccurred(), err.Error())
				return
			}
			has, now := w.lastAccepted(), time.Now()
			for i := range contacts.Items {
				contact := &contacts.Items[i]
				if !stateOf(&contact.Status).isReady() || has[contact.Spec.ContactID] == plainBody(&contact.Spec) {
					delete(since, contact.UID)
					continue
				}
				if _, known := since[contact.UID]; !known {
					since[contact.UID] = now
				}
				worst = max(worst, now.Sub(since[contact.UID]))
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	stop := sync.OnceFunc(func() { cancel(); <-done })
	DeferCleanup(stop)
	return func() time.Duration {
		stop()
		return worst
	}
}

// lastAccepted is the body of the last request that OpenCX accepted, by contactID.
func (w *world) lastAccepted() map[string]string {
	bodies := map[string]string{}
	for _, line := range w.accepted() {
		id, body, _ := strings.Cut(line, " ")
		bodies[id] = body
	}
	return bodies
}

// plainBody is the request that carries the plain values of a contact.
func plainBody(spec *v1alpha1.OpenCXContactSpec) string {
	body, _ := json.Marshal(map[string]any{"contact": struct { // always marshals
		Email      *string           `json:"email,omitzero"`
		Phone      *string           `json:"phone,omitzero"`
		Name       *string           `json:"name,omitzero"`
		CustomData map[string]string `json:"custom_data,omitzero"`
	}{spec.Email, spec.Phone, spec.Name, spec.CustomData}})
	return string(body)
}
