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

// Reasons of the Ready condition.
const (
	// SyncedReason: OpenCX accepted what spec declares.
	SyncedReason = "Synced"
	// WaitingReason: a change waits for its turn in the request budget.
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
	// UnauthorizedReason: OpenCX refused the API key (401, 402, 403).
	UnauthorizedReason = "Unauthorized"
	// APIKeyNotFoundReason: the Secret, or the key in it, does not exist.
	APIKeyNotFoundReason = "APIKeyNotFound"
	// APIKeyInvalidReason: the Secret has the key, but not a usable value.
	APIKeyInvalidReason = "APIKeyInvalid"
	// ValueNotFoundReason: a Secret or ConfigMap with a value of the contact, or
	// the key in it, does not exist.
	ValueNotFoundReason = "ValueNotFound"
	// ValueInvalidReason: a value cannot be sent.
	ValueInvalidReason = "ValueInvalid"
	// DuplicateReason: an older contact claims the same contactID with the same
	// API key.
	DuplicateReason = "Duplicate"
	// SuspendedReason: spec.suspend holds back a change that is not yet sent.
	SuspendedReason = "Suspended"
)
