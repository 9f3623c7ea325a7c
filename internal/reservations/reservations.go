// Package reservations keeps what the budget has reserved in a ConfigMap, so that an
// operator that was killed and starts again stays inside OpenCX's limit.
package reservations

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/internal/budget"
)

// ConfigMap is where reservations are kept. One operator uses one. It is not safe for
// concurrent use; the budget saves once at a time.
type ConfigMap struct {
	client client.Client
	// live reads from the API server, so that no cache of ConfigMaps is needed.
	live client.Reader
	name types.NamespacedName

	writer string // tells this process from others
	stored *corev1.ConfigMap
}

// New returns the ConfigMap of an operator in namespace. live reads from the API
// server.
func New(c client.Client, live client.Reader, namespace string) *ConfigMap {
	return &ConfigMap{client: c, live: live, name: types.NamespacedName{Namespace: namespace, Name: "opencx-operator-budget"}, writer: rand.Text()}
}

// +kubebuilder:rbac:groups="",namespace=system,resources=configmaps,verbs=create
// +kubebuilder:rbac:groups="",namespace=system,resources=configmaps,resourceNames=opencx-operator-budget,verbs=get;update

// The keys of the ConfigMap's data.
const (
	writerField       = "writer"       // the process that wrote last
	reservationsField = "reservations" // JSON of map[string]budget.Reservation
)

// Load reads what was reserved; nil when there is no ConfigMap, or one that somebody
// has spoilt.
func (r *ConfigMap) Load(ctx context.Context) (map[string]budget.Reservation, error) {
	if err := r.read(ctx); err != nil || r.stored.ResourceVersion == "" {
		return nil, err
	}
	return r.parse(ctx), nil
}

// Save implements budget.SaveFunc.
func (r *ConfigMap) Save(ctx context.Context, reserved map[string]budget.Reservation) (others map[string]budget.Reservation, err error) {
	data, err := json.Marshal(reserved)
	if err != nil {
		return nil, fmt.Errorf("encoding reservations: %w", err)
	}
	for {
		r.stored.Data[reservationsField], r.stored.Data[writerField] = string(data), r.writer
		err := r.write(ctx)
		if err == nil {
			return nil, nil
		}
		if overtaken(err) {
			err = r.read(ctx)
		}
		if err != nil {
			log.FromContext(ctx).Error(err, "Cannot reserve requests, so nothing is sent", "configMap", r.name)
			return nil, err
		}
		if r.stored.Data[writerField] != r.writer {
			if others = r.parse(ctx); others == nil {
				others = map[string]budget.Reservation{}
			}
			return others, nil
		}
		// Somebody labelled it; what it says is still what this process wrote.
	}
}

// read fills r.stored; when there is no ConfigMap, with one to create. When it cannot be
// read, r.stored stays what it was, which the next write finds to be overtaken again.
func (r *ConfigMap) read(ctx context.Context) error {
	stored := &corev1.ConfigMap{}
	if err := r.live.Get(ctx, r.name, stored); apierrors.IsNotFound(err) {
		stored = r.fresh()
	} else if err != nil {
		return fmt.Errorf("reading ConfigMap %s: %w", r.name, err)
	}
	if stored.Data == nil {
		stored.Data = map[string]string{}
	}
	r.stored = stored
	return nil
}

func (r *ConfigMap) fresh() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace:   r.name.Namespace,
		Name:        r.name.Name,
		Labels:      map[string]string{"app.kubernetes.io/managed-by": "opencx-operator"},
		Annotations: map[string]string{"kubernetes.io/description": "What the operator has reserved of OpenCX's request limit, so that a restart does not exceed it. It is created again when it is deleted."},
	}}
}

// write updates the ConfigMap, or creates it when it does not exist.
func (r *ConfigMap) write(ctx context.Context) error {
	if r.stored.ResourceVersion == "" {
		return r.client.Create(ctx, r.stored)
	}
	err := r.client.Update(ctx, r.stored)
	if apierrors.IsNotFound(err) { // deleted since it was read
		data := r.stored.Data
		r.stored = r.fresh()
		r.stored.Data = data
		return r.client.Create(ctx, r.stored)
	}
	return err
}

// overtaken says that a write failed because somebody else wrote before.
func overtaken(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }

// parse returns what the ConfigMap says. What is no JSON says nothing: somebody
// has changed it, and an operator that does not start helps nobody.
func (r *ConfigMap) parse(ctx context.Context) map[string]budget.Reservation {
	var parsed map[string]budget.Reservation
	if err := json.Unmarshal([]byte(r.stored.Data[reservationsField]), &parsed); err != nil {
		log.FromContext(ctx).Error(err, "Ignoring reservations that cannot be read", "configMap", r.name)
		return nil
	}
	return parsed
}
