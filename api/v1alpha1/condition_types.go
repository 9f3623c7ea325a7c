package v1alpha1

// ReconcileAtAnnotation forces one PATCH when it is set to a value that
// status.lastHandledReconcileAt does not have. Any string will do; the time of
// the request is the usual choice.
const ReconcileAtAnnotation = "contacts.open.cx/reconcile-at"

// Condition types. They are those of kstatus, so that Flux, Argo CD and
// `kubectl wait` need no configuration. Reconciling and Stalled are never both
// True and are absent where they do not apply.
const (
	// ReadyCondition is True while OpenCX has accepted what spec declares,
	// False when the last attempt failed, Unknown while a change is unsent.
	ReadyCondition = "Ready"
	// ReconcilingCondition is True while the operator goes on by itself
	// towards Ready.
	ReconcilingCondition = "Reconciling"
	// StalledCondition is True when somebody has to act: on the manifest, on
	// the API key, or on OpenCX.
	StalledCondition = "Stalled"
)

// Reasons of a contact's Ready condition.
const (
	// SyncedReason: OpenCX accepted what spec declares.
	SyncedReason = "Synced"
	// WaitingReason: a change waits for its turn in the request budget, or for a value
	// or key that cannot be read at present; of an organization, its key cannot be read.
	WaitingReason = "Waiting"
	// RateLimitedReason: OpenCX answered 429; the change is sent when OpenCX
	// takes requests again.
	RateLimitedReason = "RateLimited"
	// ServerErrorReason: OpenCX answered 5xx, 408 or 425; the operator retries.
	ServerErrorReason = "ServerError"
	// UnreachableReason: no answer, or one that leads elsewhere (3xx); the
	// operator retries.
	UnreachableReason = "Unreachable"
	// RejectedReason: OpenCX refused the contact (400, 422 and other 4xx).
	RejectedReason = "Rejected"
	// ContactNotFoundReason: OpenCX has no contact of that ID (404).
	ContactNotFoundReason = "ContactNotFound"
	// UnauthorizedReason: OpenCX refuses the organization's API key (401, 402).
	UnauthorizedReason = "Unauthorized"
	// ForbiddenReason: OpenCX does not let the API key change this contact (403).
	ForbiddenReason = "Forbidden"
	// OrganizationNotFoundReason: the contact's organization does not exist, or does
	// not allow contacts of this namespace.
	OrganizationNotFoundReason = "OrganizationNotFound"
	// APIKeyNotFoundReason: the Secret with the organization's key, or the key in
	// it, does not exist.
	APIKeyNotFoundReason = "APIKeyNotFound"
	// APIKeyInvalidReason: the organization's Secret has the key, but no value that
	// can be used.
	APIKeyInvalidReason = "APIKeyInvalid"
	// ValueNotFoundReason: a Secret or ConfigMap with a value of the contact, or
	// the key in it, does not exist.
	ValueNotFoundReason = "ValueNotFound"
	// ValueInvalidReason: a value cannot be sent.
	ValueInvalidReason = "ValueInvalid"
	// DuplicateReason: another contact of the organization owns the contactID.
	DuplicateReason = "Duplicate"
	// SuspendedReason: spec.suspend, of the contact or of its organization, holds
	// back a change that is not yet sent.
	SuspendedReason = "Suspended"
	// NotComparedReason: spec.driftPolicy is Report, and OpenCX has not been seen to have
	// what spec declares, nor something else; nothing is sent.
	NotComparedReason = "NotCompared"
	// ReportedReason: spec.driftPolicy is Report, and OpenCX, which never accepted the
	// contact, has something else than spec declares; nothing is sent.
	ReportedReason = "Reported"
)

// DriftedCondition of a contact is True while OpenCX has something else than spec declares,
// False when it was seen to have that, or has accepted a repair, and Unknown until it was
// looked at, or while nobody is to look. Absent while there was never anything to look at.
const DriftedCondition = "Drifted"

// Reasons of a contact's Drifted condition.
const (
	// FieldsDifferReason: the fields that the message names differ.
	FieldsDifferReason = "FieldsDiffer"
	// RepairedReason: OpenCX has accepted the contact again since fields differed.
	RepairedReason = "Repaired"
	// VerifiedReason: OpenCX has what is declared.
	VerifiedReason = "Verified"
	// NotVerifiedReason: OpenCX has accepted the contact, and was not looked at since.
	NotVerifiedReason = "NotVerified"
	// IgnoredReason: spec.driftPolicy is Ignore.
	IgnoredReason = "Ignored"
)

// OvercommittedCondition of an organization is True while the resyncs of its
// contacts need more than half of its limit, or of the operator's share of that.
const OvercommittedCondition = "Overcommitted"

// Reasons of an organization's Ready condition, besides APIKeyNotFound,
// APIKeyInvalid, Unauthorized, RateLimited and Suspended.
const (
	// UsableReason: requests can be made. The message says whether OpenCX has taken
	// the API key yet.
	UsableReason = "Usable"
	// UnavailableReason: OpenCX does not answer, or fails whatever is asked; the
	// operator probes from time to time.
	UnavailableReason = "Unavailable"
	// DuplicateKeyReason: another organization holds the same API key.
	DuplicateKeyReason = "DuplicateKey"
)

// Reasons of an organization's Overcommitted condition.
const (
	// ResyncsFitReason: resyncs need at most half of the limit.
	ResyncsFitReason = "ResyncsFit"
	// TooManyResyncsReason: resyncs need more than half of the limit.
	TooManyResyncsReason = "TooManyResyncs"
)

// DriftCheckedCondition of an organization is True while its contacts are compared with
// what OpenCX has, every spec.driftCheckInterval.
const DriftCheckedCondition = "DriftChecked"

// Reasons of an organization's DriftChecked condition.
const (
	// SweptReason: the last look for drift came to its end.
	SweptReason = "Swept"
	// ListForbiddenReason: OpenCX does not let the API key list contacts.
	ListForbiddenReason = "ListForbidden"
	// SweepFailedReason: looks for drift fail, which is tried again.
	SweepFailedReason = "SweepFailed"
)
