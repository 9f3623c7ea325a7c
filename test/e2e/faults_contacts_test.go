//go:build faults

package e2e

import (
	"context"
	"fmt"
	"hash/crc32"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/operatortest/history"
)

// persist does what the API server may refuse for a while.
func persist(do func() error) {
	GinkgoHelper()
	Eventually(do).WithTimeout(patience).WithPolling(100 * time.Millisecond).Should(Succeed())
}

func takesSecret(name types.NamespacedName) bool { return strings.HasSuffix(name.Name, "0") }

// changed notes that a state was declared. Who calls it holds the lock.
func (w *world) changed(name types.NamespacedName) {
	version := history.Version{Manifest: w.manifest[name]}
	if takesSecret(name) {
		version.Secret = w.secret[name.Namespace]
	}
	w.of(name).Changes = append(w.of(name).Changes, history.Change{At: time.Now(), Version: version})
}

// create declares a contact.
func (w *world) create(ctx context.Context, name types.NamespacedName) {
	GinkgoHelper()
	w.mu.Lock()
	version := w.manifest[name] + 1
	w.mu.Unlock()
	contact := &v1alpha1.OpenCXContact{
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, Labels: map[string]string{"shard": shardOf(name)}},
		Spec: v1alpha1.OpenCXContactSpec{
			ContactID: contactID(name), Name: new(manifestValue(version)), Email: new("jane@example.com"),
			CustomData: map[string]string{"plan": "basic"},
		},
	}
	if takesSecret(name) {
		contact.Spec.CustomDataFrom = map[string]v1alpha1.ValueSource{"token": {SecretKeyRef: &v1alpha1.KeySelector{Name: "values", Key: "token"}}}
	}
	persist(func() error {
		err := k8s.Create(ctx, contact.DeepCopy())
		if apierrors.IsAlreadyExists(err) { // it was taken, and the answer lost
			return nil
		}
		return err
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.manifest[name] = version
	w.names = append(w.names, name)
	w.changed(name)
}

// shardOf is one of three.
func shardOf(name types.NamespacedName) string {
	return string("abc"[crc32.ChecksumIEEE([]byte(name.Name))%3])
}

func contactID(name types.NamespacedName) string { return name.Namespace + "." + name.Name }

func manifestValue(version int) string { return fmt.Sprintf("m%d", version) }

func secretValue(version int) string { return fmt.Sprintf("tok-%s-s%d", marker, version) }

// edit changes the manifest of a contact.
func (w *world) edit(ctx context.Context, name types.NamespacedName) {
	GinkgoHelper()
	w.mu.Lock()
	version := w.manifest[name] + 1
	w.mu.Unlock()
	contact := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	persist(func() error {
		return k8s.Patch(ctx, contact, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"name":"`+manifestValue(version)+`"}}`)))
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.manifest[name] = version
	w.changed(name)
}

// delete deletes a contact, which OpenCX keeps.
func (w *world) delete(ctx context.Context, name types.NamespacedName) {
	GinkgoHelper()
	contact := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	persist(func() error { return client.IgnoreNotFound(k8s.Delete(ctx, contact)) })
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names = slices.DeleteFunc(w.names, func(n types.NamespacedName) bool { return n == name })
	w.of(name).Changes = append(w.of(name).Changes, history.Change{At: time.Now(), Deleted: true})
}

// editSecret changes the value that contacts of a namespace take, or makes it.
func (w *world) editSecret(ctx context.Context, namespace string) {
	GinkgoHelper()
	version := w.secret[namespace] + 1
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "values"}, StringData: map[string]string{"token": secretValue(version)}}
	persist(func() error {
		if version == 1 {
			return k8s.Create(ctx, secret)
		}
		return k8s.Update(ctx, secret)
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secret[namespace] = version
	for _, name := range w.names {
		if name.Namespace == namespace && takesSecret(name) {
			w.changed(name)
		}
	}
}

// declare creates n contacts, in turns in all namespaces.
func (w *world) declare(ctx context.Context, n int) {
	GinkgoHelper()
	var group errgroup.Group
	group.SetLimit(8)
	before := len(w.manifest)
	for i := range n {
		name := types.NamespacedName{Namespace: w.namespaces[i%len(w.namespaces)], Name: fmt.Sprintf("c%d", before+i)}
		group.Go(func() error {
			defer GinkgoRecover()
			w.create(ctx, name)
			return nil
		})
	}
	Expect(group.Wait()).To(Succeed())
	// In an order that a seed repeats.
	slices.SortFunc(w.names, func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) })
}

// force asks for a request of each contact that is not Ready and not tried again soon, as
// a person would after an outage: what OpenCX has refused is not due for an hour.
func (w *world) force(ctx SpecContext) {
	GinkgoHelper()
	var contacts v1alpha1.OpenCXContactList
	Expect(k8s.List(ctx, &contacts)).To(Succeed())
	for _, contact := range contacts.Items {
		next := contact.Status.NextAttemptTime
		if slices.Contains(w.namespaces, contact.Namespace) && !meta.IsStatusConditionTrue(contact.Status.Conditions, v1alpha1.ReadyCondition) &&
			next != nil && time.Until(next.Time) > 5*time.Second {
			w.forced++
			patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.ReconcileAtAnnotation, time.Now().Format(time.RFC3339Nano))
			Expect(k8s.Patch(ctx, &contact, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
		}
	}
}

var (
	manifestVersion = regexp.MustCompile(`"name":"m(\d+)"`)
	secretVersion   = regexp.MustCompile(marker + `-s(\d+)"`)
)

// versionIn reads which state of a contact a request carries.
func versionIn(body []byte) (version history.Version) {
	for pattern, number := range map[*regexp.Regexp]*int{manifestVersion: &version.Manifest, secretVersion: &version.Secret} {
		if found := pattern.FindSubmatch(body); found != nil {
			*number, _ = strconv.Atoi(string(found[1])) // digits
		}
	}
	return version
}
