package controller

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/desired"
	"github.com/opencx-labs/opencx-operator/internal/drift"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/organization"
	"github.com/opencx-labs/opencx-operator/internal/ownership"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

// facts are what is known of a contact when it is decided upon.
type facts struct {
	// contact is as it is stored, and belongs to the cache: nobody may change it.
	// status is what it will be without an attempt: what could not be written, or was
	// learnt from loading, is in it.
	contact *v1alpha1.OpenCXContact
	status  v1alpha1.OpenCXContactStatus
	state   state // of status

	organization organization.Organization
	claim        ownership.Claim
	title        ownership.Title

	// hash is of what is wanted: by the versions of its sources that the cache
	// knows, or, once loaded, that were read. sourced says that it has sources.
	hash    string
	sourced bool
	loaded  *loaded
	// busy is after how long it may be tried again to load, 0 unless others were in the way.
	busy time.Duration
	// last is what this process sent last, and attemptEnded when that ended, whatever it was.
	last         sent
	attemptEnded time.Time
	// listing is what OpenCX lists of the contact and is not compared yet, nil for nothing;
	// seenUpdate is when what was compared last had changed in OpenCX, and seenHash what it
	// was compared with, "" when this process has compared nothing.
	listing    *drift.Listing
	seenUpdate time.Time
	seenHash   string
}

// loaded is what a PATCH needs and what only a live read can tell.
type loaded struct {
	problem *status.Problem // why it cannot be sent
	payload opencx.Payload
	digest  opencx.Fingerprint // of a contact with sources
	key     organization.Key
	// contested says that the status of another contact still says that it is the one
	// that OpenCX has accepted.
	contested bool
}

// sent is what a process sent: worth nothing outside it. The digest, which tells
// whether values have changed, is zero for a contact without sources.
type sent struct {
	hash   string
	digest opencx.Fingerprint
}

// maxWish is how many characters of the annotation count.
const maxWish = 256

// wish is the value of the reconcile-at annotation.
func (f *facts) wish() string {
	wish := []rune(f.contact.Annotations[v1alpha1.ReconcileAtAnnotation])
	return string(wish[:min(len(wish), maxWish)])
}

// wished says that the value was not attempted yet.
func (f *facts) wished() bool {
	wish := f.wish()
	return wish != "" && wish != f.status.LastHandledReconcileAt
}

func (f *facts) keyVersion() string {
	if f.loaded != nil && f.loaded.key.Version != "" {
		return f.loaded.key.Version
	}
	return f.organization.KeyVersion
}

// past is how the last attempt ended, in the organization of now.
func (f *facts) past() budget.Past {
	switch {
	case f.status.ConsecutiveFailures > 0:
		return budget.Failed
	case f.status.Organization == f.organization.Name.String():
		return budget.Accepted
	}
	return budget.Untried
}

func (f *facts) resyncInterval() time.Duration {
	return organization.ResyncInterval(f.contact.Spec.ResyncInterval, f.organization.ResyncInterval)
}

// look gathers what the cache and this process know of a contact, which costs no
// request to anybody, unless the cache is older than what this process wrote. ok is
// false when the contact is gone or going.
func (r *ContactReconciler) look(ctx context.Context, name types.NamespacedName) (f facts, ok bool, err error) {
	known, contact := r.memory.of(name), &v1alpha1.OpenCXContact{}
	err = r.cache.Get(ctx, name, contact, client.UnsafeDisableDeepCopy)
	if err == nil && known.newerThan(contact) {
		contact = &v1alpha1.OpenCXContact{}
		ctx, cancel := context.WithTimeout(ctx, loadTimeout)
		defer cancel()
		err = r.live.Get(ctx, name, contact)
	}
	if apierrors.IsNotFound(err) || err == nil && !contact.DeletionTimestamp.IsZero() {
		return f, false, nil
	} else if err != nil {
		return f, false, fmt.Errorf("reading contact: %w", err)
	}
	if known.uid != contact.UID {
		known = remembered{}
	}
	f = facts{
		contact: contact, status: contact.Status, last: known.sent, attemptEnded: known.attemptEnded,
		listing: known.listing, seenUpdate: known.seenUpdate, seenHash: known.seenHash,
	}
	if known.unsaved != nil {
		f.status = *known.unsaved
	}
	if known.doubtful {
		f.status.AppliedHash = ""
	}
	f.state = stateOf(&f.status)
	if f.organization, err = r.organizations.Of(ctx, contact); err != nil {
		return f, false, err
	}
	f.claim = ownership.ClaimOf(contact, f.organization.Name)
	if f.title, err = r.owners.Judge(ctx, contact, f.claim, f.organization.Problem == nil); err != nil {
		return f, false, err
	}
	versions, err := desired.CachedVersions(ctx, r.cache, name.Namespace, &contact.Spec)
	if err != nil {
		return f, false, err
	}
	f.sourced, f.hash = versions != nil, r.hash(&f, versions)
	return f, true, nil
}

func (r *ContactReconciler) hash(f *facts, versions desired.Versions) string {
	return desired.Hash(&f.contact.Spec, versions, desired.To{API: r.OpenCX.BaseURL(), Organization: f.organization.Name.String()})
}

// digestSeed makes digests of secret values worthless to whoever reads memory or
// logs of another process.
var digestSeed = rand.Text()

// loadTimeout bounds what is read live, so that what cannot be read is told in time.
const loadTimeout = 5 * time.Second

// load reads the values of a contact, and its organization's key when that is
// another than the one in memory. After an error nothing is loaded.
func (r *ContactReconciler) load(ctx context.Context, f facts) (facts, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	payload, versions, err := desired.Read(ctx, r.live, f.contact.Namespace, &f.contact.Spec)
	if problem, is := errors.AsType[*desired.ValueError](err); is {
		f.loaded = &loaded{problem: valueProblem(problem)}
		return f, nil
	} else if err != nil {
		return f, err
	}
	l := &loaded{payload: payload}
	if f.sourced {
		f.hash = r.hash(&f, versions)
		// The hash without versions tells what else is sent, and where: with the values it
		// tells all.
		l.digest = payload.Fingerprint(digestSeed + r.hash(&f, nil))
		if f.settle(l.digest) {
			r.memory.sent(f.contact, f.last)
		}
	}
	if l.key, err = r.organizations.Key(ctx, f.organization.Name); err != nil {
		return f, err
	}
	l.problem = l.key.Problem
	if l.contested, err = r.owners.IsContested(ctx, f.claim, client.ObjectKeyFromObject(f.contact)); err != nil {
		return f, err
	}
	f.loaded = l
	return f, nil
}

func valueProblem(e *desired.ValueError) *status.Problem {
	if e.Missing {
		return &status.Problem{Reason: v1alpha1.ValueNotFoundReason, Message: e.Error(), Missing: true}
	}
	return &status.Problem{Reason: v1alpha1.ValueInvalidReason, Message: e.Error()}
}

// settle makes good that only the versions of sources have moved, as when somebody
// labels a Secret: equal values are what was sent, under another hash. It says
// whether that was so. digest is of the values.
func (f *facts) settle(digest opencx.Fingerprint) bool {
	if f.last.hash == "" || f.last.hash == f.hash || f.last.digest != digest {
		return false
	}
	if f.status.AppliedHash == f.last.hash {
		f.status.AppliedHash = f.hash
	}
	if attempted := status.ParseAttempt(f.status.AttemptedHash); attempted.Hash == f.last.hash {
		f.status.AttemptedHash = status.Attempt{Hash: f.hash, KeyVersion: attempted.KeyVersion}.String()
	}
	f.last.hash = f.hash
	return true
}
