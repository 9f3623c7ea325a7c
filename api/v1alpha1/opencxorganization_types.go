package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// OpenCXOrganizationSpec declares how an organization of OpenCX is reached, how
// much of its quota may be used, and by whom.
type OpenCXOrganizationSpec struct {
	// apiKeySecretRef names the Secret, in the organization's own namespace, that
	// holds the OpenCX API key. A new key is used from the next request on, and
	// causes none but of contacts that were refused with the old one. While the Secret
	// or the key in it does not exist, nothing is sent and Ready is False with reason
	// APIKeyNotFound; with a value that no header can carry, or of more than 4096
	// bytes, APIKeyInvalid; with the key of another organization, DuplicateKey.
	// +required
	APIKeySecretRef APIKeySecretReference `json:"apiKeySecretRef,omitzero"`

	// rateLimit is how many requests may be made for the organization. When absent,
	// the operator's --opencx-rate-limit applies, which it may lower and not raise:
	// a limit that would allow more is not used, and the message of Ready says so. An
	// operator with a --budget-share uses that part of it.
	// +optional
	RateLimit *RateLimit `json:"rateLimit,omitempty"` //nolint:kubeapilinter // nil is how Go code asks for absent

	// allowedNamespaces says whose contacts may name this organization. When
	// absent, those of its own namespace. The others are told OrganizationNotFound.
	// +optional
	AllowedNamespaces *AllowedNamespaces `json:"allowedNamespaces,omitempty"`

	// resyncInterval is the time after which an unchanged contact is sent again when
	// it sets no resyncInterval itself. It is a duration in ms, s, m and h from 5m
	// to 8760h, such as 30m or 24h; "0s" is never. When absent, the operator's
	// --resync-interval applies.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,4}([.][0-9]{1,9})?h|[0-9]{1,6}([.][0-9]{1,9})?m|[0-9]{1,8}([.][0-9]{1,9})?s|[0-9]{1,11}([.][0-9]{1,6})?ms)+$') && (duration(self) == duration('0s') || duration(self) >= duration('5m')) && duration(self) <= duration('8760h')",message="resyncInterval must be a duration in ms, s, m and h from 5m to 8760h, such as 30m or 24h; use 0s to turn re-sending off"
	ResyncInterval *metav1.Duration `json:"resyncInterval,omitempty"` //nolint:kubeapilinter // as in OpenCXContact

	// driftCheckInterval is the time after which OpenCX is asked which contacts have
	// changed, so that those of the manifests that differ are found; see the driftPolicy
	// of a contact. It costs one request, and more only when many have changed. It is a
	// duration in ms, s, m and h from 1m to 8760h, such as 10m or 1h; "0s" is never. When
	// absent, 10m. With an API key that may not list contacts, nothing is found, and the
	// condition DriftChecked is False with reason ListForbidden.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,4}([.][0-9]{1,9})?h|[0-9]{1,6}([.][0-9]{1,9})?m|[0-9]{1,8}([.][0-9]{1,9})?s|[0-9]{1,11}([.][0-9]{1,6})?ms)+$') && (duration(self) == duration('0s') || duration(self) >= duration('1m')) && duration(self) <= duration('8760h')",message="driftCheckInterval must be a duration in ms, s, m and h from 1m to 8760h, such as 10m or 1h; use 0s to turn the look for drift off"
	DriftCheckInterval *metav1.Duration `json:"driftCheckInterval,omitempty"` //nolint:kubeapilinter // as in OpenCXContact

	// suspend stops every request for the organization while it is true. Changes of
	// its contacts are held back and show there as Ready Unknown with reason
	// Suspended. When absent, false.
	// +optional
	Suspend bool `json:"suspend,omitempty"` //nolint:kubeapilinter // as in CronJob and Flux; there is no third state
}

// APIKeySecretReference names one key of a Secret.
// +structType=atomic
type APIKeySecretReference struct {
	// name is the name of the Secret, in the organization's own namespace. While no
	// such Secret exists, Ready is False with reason APIKeyNotFound.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="apiKeySecretRef.name must be the name of a Secret: lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
	Name string `json:"name,omitempty"`

	// key is the key in the Secret's data whose value is the API key. When absent,
	// "apiKey". While the Secret lacks it, Ready is False with reason
	// APIKeyNotFound.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._A-Za-z0-9]*$')",message="apiKeySecretRef.key must be a key of a Secret: letters, digits, '-', '_' and '.'"
	Key string `json:"key,omitempty"`
}

// RateLimit is a number of requests in any trailing window.
// +structType=atomic
// +kubebuilder:validation:XValidation:rule="!self.window.matches('^([0-9]{1,2}h|[0-9]{1,4}m|[0-9]{1,5}s)+$') || duration(self.window).getSeconds() <= 60 * self.requests",message="rateLimit must allow at least one request a minute: raise requests, or shorten window"
type RateLimit struct {
	// requests is how many requests may be made in any trailing window, from 1 to
	// 100000.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	Requests int32 `json:"requests,omitempty"`

	// window is the length of the window, a duration from 1s to 1h such as 1m. It
	// must be the one that OpenCX enforces: 10 in 6s is not the same as 100 in 1m. A
	// limit of less than one request a minute is refused.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,2}h|[0-9]{1,4}m|[0-9]{1,5}s)+$') && duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="window must be a duration in s, m and h from 1s to 1h, such as 1m"
	Window metav1.Duration `json:"window,omitzero"` //nolint:kubeapilinter // as resyncInterval
}

// FromNamespaces says which namespaces are meant.
// +enum
type FromNamespaces string

// The values of FromNamespaces.
const (
	// NamespacesFromSame: the organization's own namespace.
	NamespacesFromSame FromNamespaces = "Same"
	// NamespacesFromSelector: its own namespace and those whose labels a selector
	// matches.
	NamespacesFromSelector FromNamespaces = "Selector"
	// NamespacesFromAll: all namespaces.
	NamespacesFromAll FromNamespaces = "All"
)

// AllowedNamespaces says which namespaces may use an organization, like the
// allowedRoutes.namespaces of a Gateway.
// +structType=atomic
// +kubebuilder:validation:MinProperties=0
// +kubebuilder:validation:XValidation:rule="(has(self.from) && self.from == 'Selector') == has(self.selector)",message="allowedNamespaces needs a selector when from is Selector, and must have none otherwise"
type AllowedNamespaces struct {
	// from says which namespaces are allowed: Same, the organization's own;
	// Selector, its own and those whose labels match selector; All. When absent,
	// Same.
	// +optional
	// +kubebuilder:validation:Enum=Same;Selector;All
	From FromNamespaces `json:"from,omitempty"`

	// selector matches the labels of namespaces. It is given when from is Selector,
	// and only then. An operator that may not read the labels of namespaces says so
	// in the message of Ready, and allows the organization's own namespace alone.
	// +optional
	Selector *NamespaceSelector `json:"selector,omitempty"`
}

// NamespaceSelector selects by labels, like a metav1.LabelSelector whose size is
// bounded.
// +structType=atomic
// +kubebuilder:validation:MinProperties=0
// +kubebuilder:validation:XValidation:rule="(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)",message="an empty selector would allow every namespace: use from: All for that, or name a label"
type NamespaceSelector struct {
	// matchLabels holds up to 16 labels that a namespace must have, with their
	// values. When absent, matchExpressions alone decide.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MinProperties=0
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && !format.qualifiedName().validate(k).hasValue())",message="a key of matchLabels must be the name of a label, such as team or example.com/team"
	// +kubebuilder:validation:XValidation:rule="self.all(k, dyn(self[k]) != null && !format.labelValue().validate(self[k]).hasValue())",message="a value of matchLabels must be the value of a label: at most 63 letters, digits, '-', '_' and '.', starting and ending with a letter or digit; to match any value, use matchExpressions with operator Exists"
	MatchLabels map[string]LabelValue `json:"matchLabels,omitempty"`

	// matchExpressions holds up to 16 requirements that a namespace's labels must
	// all meet. When absent, matchLabels alone decide.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=0
	// +kubebuilder:validation:MaxItems=16
	MatchExpressions []NamespaceSelectorRequirement `json:"matchExpressions,omitempty"`
}

// LabelValue is the value of a label.
// +kubebuilder:validation:MinLength=0
// +kubebuilder:validation:MaxLength=63
type LabelValue string

// NamespaceSelectorRequirement is a requirement on one label.
// +kubebuilder:validation:XValidation:rule="self.operator in ['In','NotIn'] == (has(self.values) && size(self.values) > 0)",message="operator In and NotIn need values; Exists and DoesNotExist must have none"
type NamespaceSelectorRequirement struct {
	// key is the name of the label.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:XValidation:rule="!format.qualifiedName().validate(self).hasValue()",message="key must be the name of a label, such as team or example.com/team"
	Key string `json:"key,omitempty"`

	// operator relates the label to values: In, NotIn, Exists or DoesNotExist.
	// +required
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	Operator metav1.LabelSelectorOperator `json:"operator,omitempty"`

	// values holds up to 64 values. Required with In and NotIn; must be absent with
	// Exists and DoesNotExist.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=0
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.all(v, !format.labelValue().validate(v).hasValue())",message="values must be values of a label: at most 63 letters, digits, '-', '_' and '.', starting and ending with a letter or digit"
	Values []LabelValue `json:"values,omitempty"`
}

// OpenCXOrganizationStatus is what the operator knows about the organization.
// +kubebuilder:validation:MinProperties=0
type OpenCXOrganizationStatus struct {
	// conditions are Ready, Reconciling and Stalled, as kstatus defines them,
	// Overcommitted and DriftChecked.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MinItems=0
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the metadata.generation that the operator works with;
	// -1 before it has seen the organization.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"` //nolint:kubeapilinter // no generation is 0, so 0 and absent are the same

	// contacts counts the contacts that name this organization and are allowed to.
	// It is written at most every ten seconds. Absent before the first count.
	// +optional
	Contacts *ContactCounts `json:"contacts,omitempty"`

	// drainsAt is when the last of the contacts that wait for a request is expected
	// to be sent. Absent while none waits.
	// +optional
	DrainsAt *metav1.Time `json:"drainsAt,omitempty"`

	// lastSyncTime is when OpenCX last accepted a PATCH with the organization's
	// API key, give or take ten seconds. Absent before the first.
	// +optional
	LastSyncTime *metav1.Time `json:"lastSyncTime,omitempty"`

	// sweep is the last look for drift. Absent before the first.
	// +optional
	Sweep *SweepStatus `json:"sweep,omitempty"`
}

// SweepStatus is what the operator knows of its looks for drift.
// +kubebuilder:validation:MinProperties=0
type SweepStatus struct {
	// watermark is the time, by the clock of OpenCX, from which on changes have not been
	// looked at: the next look begins there. It is moved when all that a look has found is
	// stored.
	// +optional
	Watermark *metav1.Time `json:"watermark,omitempty"`

	// lastTime is when the last look ended that came to its end.
	// +optional
	LastTime *metav1.Time `json:"lastTime,omitempty"`

	// lastFullTime is when the last look began that saw all contacts, and not only those that
	// have changed. Absent before the first; there is one only when a contact is to be compared
	// that OpenCX does not list as changed.
	// +optional
	LastFullTime *metav1.Time `json:"lastFullTime,omitempty"`

	// contactsSeen counts the contacts that OpenCX listed in the last look, in the manifests
	// or not.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ContactsSeen *int32 `json:"contactsSeen,omitempty"`

	// scope names the contacts that the operator looks after which looked, by namespaces and
	// labels: "namespaces shop,support; labels shard=a", or the SHA-256 of that when it is
	// longer than 256 characters. Absent for all contacts. An operator that looks after others
	// begins anew.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Scope string `json:"scope,omitempty"`
}

// ContactCounts counts contacts.
// +kubebuilder:validation:MinProperties=0
type ContactCounts struct {
	// total counts all of them.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Total *int32 `json:"total,omitempty"`

	// ready counts those of which OpenCX has what they declare.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Ready *int32 `json:"ready,omitempty"`

	// waiting counts those that have a change which is not sent yet, and those that
	// the operator has not seen.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Waiting *int32 `json:"waiting,omitempty"`

	// failed counts those that are not Ready because something is wrong.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Failed *int32 `json:"failed,omitempty"`
}

// OpenCXOrganization declares an organization of OpenCX: its API key, its part of
// the quota, and the namespaces whose contacts may use it. Everything that is
// scarce belongs to it, so all its contacts share one limit.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=opencxorganizations,shortName=oxo,categories=opencx,scope=Namespaced
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Contacts",type=integer,JSONPath=`.status.contacts.total`
// +kubebuilder:printcolumn:name="Synced",type=integer,JSONPath=`.status.contacts.ready`
// +kubebuilder:printcolumn:name="Waiting",type=integer,JSONPath=`.status.contacts.waiting`
// +kubebuilder:printcolumn:name="Drains At",type=string,JSONPath=`.status.drainsAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type OpenCXOrganization struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec declares how the organization is reached, and by whom.
	// +required
	Spec OpenCXOrganizationSpec `json:"spec,omitzero"`

	// status is what the operator knows about the organization.
	// +optional
	// +default={"observedGeneration":-1}
	Status OpenCXOrganizationStatus `json:"status,omitzero"`
}

// OpenCXOrganizationList is a list of organizations.
// +kubebuilder:object:root=true
type OpenCXOrganizationList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitzero"`
	// items are the organizations.
	Items []OpenCXOrganization `json:"items"`
}
