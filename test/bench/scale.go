package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

const (
	// heapGoal is of the live heap for each contact more, in bytes.
	heapGoal = 3072
	// settled is when the numbers of an organization, which follow within ten seconds, are
	// written.
	settled = 12 * time.Second
	// tenants is how many namespaces the contacts are in.
	tenants = 10
)

// scale is what one operator costs by how many contacts there are.
type scale struct {
	*world
	idle     time.Duration
	folder   string // for profiles
	log      audit
	pprof    string // address
	operator *process
	contacts int // that there are
}

// cost is what is compared from row to row.
type cost struct {
	contacts              float64
	heapSynced, heap, rss float64 // bytes
	ready                 time.Duration
}

// measureScale brings ever more contacts of ordinary size in sync, and measures at each of
// counts. Nobody looks for drift: how often OpenCX is asked does not depend on contacts.
func measureScale(ctx context.Context, counts []int, idle time.Duration, folder string) (results []result, err error) {
	err = inWorldWith(ctx, operatortest.StartAuditedControlPlane, unlimited, func(w *world) error {
		organization := &v1alpha1.OpenCXOrganization{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "default"}}
		never := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"driftCheckInterval":"0s"}}`))
		if err := w.k8s.Patch(w, organization, never); err != nil {
			return err
		}
		address, err := operatortest.FreeAddress(w)
		if err != nil {
			return err
		}
		s := &scale{world: w, idle: idle, folder: folder, log: audit{file: w.controlPlane.AuditLog}, pprof: address}
		var costs []cost
		for _, n := range counts {
			r := result{Case: fmt.Sprintf("%d contacts", n)}
			began(r.Case)
			c, err := s.measureRow(&r, n)
			if err != nil {
				return fmt.Errorf("%s: %w", r.Case, err)
			}
			costs, results = append(costs, c), append(results, r)
		}
		results = append(results, growth(costs)...)
		return nil
	})
	return results, err
}

// growth is what each contact more costs, from row to row. The last step has the goal.
func growth(costs []cost) (results []result) {
	for i := range costs[1:] {
		from, to := costs[i], costs[i+1]
		more := to.contacts - from.contacts
		r := result{Case: fmt.Sprintf("each more from %.0f to %.0f", from.contacts, to.contacts)}
		heap := r.told
		if i == len(costs)-2 {
			heap = func(name string, got float64, unit string) { r.atMost(name, got, heapGoal, unit) }
		}
		heap("live heap after a sync", (to.heapSynced-from.heapSynced)/more, "B")
		heap("live heap after a restart", (to.heap-from.heap)/more, "B")
		r.told("RSS after a restart", (to.rss-from.rss)/more, "B")
		r.told("time until an edit is accepted", (to.ready-from.ready).Seconds()*1000/more, "ms")
		results = append(results, r)
	}
	return results
}

// measureRow measures with n contacts, of which there were fewer before.
func (s *scale) measureRow(r *result, n int) (c cost, err error) {
	c.contacts = float64(n)
	if err := s.declareOrdinary(n); err != nil {
		return c, err
	}
	for _, part := range []func(*result, *cost) error{s.sync, s.restart, s.rest, s.lookAgain} {
		if err := part(r, &c); err != nil {
			return c, err
		}
	}
	return c, s.operator.Stop()
}

// declareOrdinary creates contacts as tools do, until there are n.
func (s *scale) declareOrdinary(n int) error {
	for i := range tenants {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tenant(i)}}
		if err := s.k8s.Create(s, namespace); client.IgnoreAlreadyExists(err) != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(s)
	group.SetLimit(8)
	for i := s.contacts; i < n; i++ {
		group.Go(func() error {
			return s.k8s.Apply(ctx, client.ApplyConfigurationFromUnstructured(ordinary(i)), client.FieldOwner("argocd-controller"))
		})
	}
	return group.Wait()
}

func tenant(i int) string      { return fmt.Sprintf("tenant-%d", i%tenants) }
func nameOf(i int) string      { return fmt.Sprintf("customer-%05d", i) }
func contactIDOf(i int) string { return fmt.Sprintf("3c90c3cc-0d44-4b50-8888-%012d", i) }

// ordinary is the manifest of a contact of ordinary size.
func ordinary(i int) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{
			"namespace": tenant(i), "name": nameOf(i),
			"labels":      map[string]any{"app.kubernetes.io/name": "shop", "app.kubernetes.io/managed-by": "Helm"},
			"annotations": map[string]any{"argocd.argoproj.io/tracking-id": fmt.Sprintf("shop:contacts.open.cx/OpenCXContact:%s/%s", tenant(i), nameOf(i))},
		},
		"spec": map[string]any{
			"organizationRef": map[string]any{"name": "default", "namespace": metav1.NamespaceDefault},
			"contactID":       contactIDOf(i),
			"email":           fmt.Sprintf("jane.doe.%d@example.com", i),
			"phone":           "+12025550123",
			"name":            "Jane Doe " + strconv.Itoa(i),
			"customData":      map[string]any{"plan": "enterprise", "region": "europe", "seats": strconv.Itoa(i % 100), "since": "2021-03-04"},
		},
	}}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("OpenCXContact"))
	return object
}

// start starts the operator, of which profiles can be asked.
func (s *scale) start() (err error) {
	s.operator, err = s.startOperator("--pprof-bind-address=" + s.pprof)
	return err
}

// begin has requests counted from now on.
func (s *scale) begin() error {
	s.simulator.ResetJournal()
	_, err := s.log.next()
	return err
}

// sync brings the contacts in sync that are not.
func (s *scale) sync(r *result, c *cost) error {
	more := int(c.contacts) - s.contacts
	s.contacts = int(c.contacts)
	if err := errors.Join(s.begin(), s.start()); err != nil {
		return err
	}
	err := s.until("all requests", 30*time.Minute, func() (bool, error) {
		return len(s.simulator.Journal()) >= more, s.pause(time.Second)
	})
	if err := errors.Join(err, s.pause(settled)); err != nil {
		return err
	}
	requests, err := s.log.next()
	if err != nil {
		return err
	}
	r.exactly("requests to OpenCX per sync", float64(len(s.simulator.Journal()))/float64(more), 1)
	r.exactly("status writes per sync", float64(count(requests, apiRequest.isStatusWrite))/float64(more), 1)
	r.atMost("GETs of contacts", float64(count(requests, apiRequest.isContactRead)), 0, "")
	if c.heapSynced, err = s.liveHeap(); err != nil {
		return err
	}
	r.told("live heap after that", c.heapSynced/1e6, "MB")
	if err := errors.Join(s.operator.notePeakRSS(), s.operator.Stop()); err != nil {
		return err
	}
	r.told("peak RSS", s.operator.peakRSS/1e6, "MB")
	return nil
}

// restart starts the operator with all contacts in sync, and edits one.
func (s *scale) restart(r *result, c *cost) error {
	if err := s.begin(); err != nil {
		return err
	}
	profiled := make(chan error, 1)
	go func() { profiled <- s.profileCPU() }()
	began, edited := time.Now(), s.contacts/2
	if err := errors.Join(s.start(), s.edit(tenant(edited), nameOf(edited), fmt.Sprintf("Edited among %d", s.contacts))); err != nil {
		return err
	}
	if err := s.untilAccepted(1, 5*time.Minute); err != nil {
		return err
	}
	accepted, found := s.accepted()[contactIDOf(edited)]
	if !found {
		return errors.New("another contact was sent than the one that was edited")
	}
	c.ready = accepted.Sub(began)
	r.atMost("from a restart until an edit is accepted", c.ready.Seconds(), 30, "s")
	if err := errors.Join(s.untilLooks(c.contacts), <-profiled); err != nil {
		return err
	}
	requests, err := s.log.next()
	if err != nil {
		return err
	}
	reads := map[string]int{}
	for _, request := range requests {
		if request.readsAll() {
			reads[request.ObjectRef.Resource]++
		}
	}
	most := 0
	for _, n := range reads {
		most = max(most, n)
	}
	others := func(which func(apiRequest) bool) float64 {
		return float64(count(requests, func(r apiRequest) bool { return which(r) && r.ObjectRef.Name != nameOf(edited) }))
	}
	r.told("watched types", float64(len(reads)), "")
	r.exactly("LISTs and streaming WATCHes of one type, at most", float64(most), 1)
	r.atMost("requests to OpenCX but for the edit", float64(len(s.simulator.Journal())-1), 0, "")
	r.atMost("status writes but for the edit", others(apiRequest.isStatusWrite), 0, "")
	r.atMost("GETs of contacts but for the edit", others(apiRequest.isContactRead), 0, "")
	r.told("requests to the API server in all", float64(len(requests)), "")
	if c.heap, err = s.liveHeap(); err != nil {
		return err
	}
	if c.rss, err = s.metric(s.operator, "process_resident_memory_bytes"); err != nil {
		return err
	}
	r.told("live heap after a restart", c.heap/1e6, "MB")
	r.told("RSS after a restart", c.rss/1e6, "MB")
	return s.save("scale-heap.pprof", "heap")
}

// untilLooks waits until the running operator has looked at n contacts, and until what
// follows from that is written.
func (s *scale) untilLooks(n float64) error {
	err := s.until("a look at each contact", 10*time.Minute, func() (bool, error) {
		looks, err := s.metric(s.operator, "controller_runtime_reconcile_total")
		return looks >= n, errors.Join(err, s.pause(time.Second))
	})
	return errors.Join(err, s.pause(settled))
}

// rest measures what nothing costs.
func (s *scale) rest(r *result, _ *cost) error {
	before, err := s.metric(s.operator, "process_cpu_seconds_total")
	if err := errors.Join(err, s.begin(), s.pause(s.idle)); err != nil {
		return err
	}
	after, err := s.metric(s.operator, "process_cpu_seconds_total")
	if err != nil {
		return err
	}
	requests, err := s.log.next()
	r.atMost("CPU while idle", 100*(after-before)/s.idle.Seconds(), 1, "%")
	r.atMost("requests to OpenCX while idle", float64(len(s.simulator.Journal())), 0, "")
	r.atMost("requests to the API server while idle, but for WATCHes", float64(count(requests, apiRequest.isNoWatch)), 0, "")
	return err
}

// lookAgain has each contact looked at for nothing, by a label of the Secret with the key.
func (s *scale) lookAgain(r *result, c *cost) error {
	looks, err := s.metric(s.operator, "controller_runtime_reconcile_total")
	if err := errors.Join(err, s.begin()); err != nil {
		return err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "default-api-key"}}
	label := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"labels":{"beside":"%d"}}}`, s.contacts))
	if err := errors.Join(s.k8s.Patch(s, secret, label), s.untilLooks(looks+c.contacts)); err != nil {
		return err
	}
	requests, err := s.log.next()
	r.atMost("requests to OpenCX of as many looks in vain", float64(len(s.simulator.Journal())), 0, "")
	// The organization reads its key again, once, and says so.
	r.atMost("requests to the API server of these looks", float64(count(requests, apiRequest.isNoWatch)), 2, "")
	return err
}

var heapAlloc = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)

// liveHeap is what the running operator has in use, in bytes.
func (s *scale) liveHeap() (float64, error) {
	// The first time, what only finalizers and weak pointers know is still there.
	for range 2 {
		if _, err := s.get("http://" + s.pprof + "/debug/pprof/heap?gc=1"); err != nil {
			return 0, err
		}
	}
	text, err := s.get("http://" + s.pprof + "/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return 0, err
	}
	found := heapAlloc.FindSubmatch(text)
	if found == nil {
		return 0, errors.New("the profile of the heap does not tell its size")
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// profileCPU saves a profile of the 20 s after it can be asked for.
func (s *scale) profileCPU() error {
	err := s.until("profiles", time.Minute, func() (bool, error) {
		_, err := s.get("http://" + s.pprof + "/debug/pprof/cmdline")
		return err == nil, nil
	})
	if err != nil {
		return err
	}
	return s.save("scale-cpu.pprof", "profile?seconds=20")
}

// save saves a profile of the running operator.
func (s *scale) save(file, profile string) error {
	data, err := s.get("http://" + s.pprof + "/debug/pprof/" + profile)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.folder, file), data, 0o644)
}
