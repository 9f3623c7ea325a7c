package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// OpenCXContactSpec declares what OpenCX shall know about one contact.
//
// A field that is absent is not sent, and OpenCX keeps what it has. A field
// that is present is sent, also when it is "" or {}. Removing a field from the
// manifest therefore releases it; it does not erase it in OpenCX.
// +kubebuilder:validation:XValidation:rule="!has(self.email) || !has(self.emailFrom)",message="email and emailFrom must not be used together: remove one of them"
// +kubebuilder:validation:XValidation:rule="!has(self.phone) || !has(self.phoneFrom)",message="phone and phoneFrom must not be used together: remove one of them"
// +kubebuilder:validation:XValidation:rule="!has(self.name) || !has(self.nameFrom)",message="name and nameFrom must not be used together: remove one of them"
// +kubebuilder:validation:XValidation:rule="!has(self.customData) || !has(self.customDataFrom) || self.customData.all(k, !(k in self.customDataFrom))",message="customData and customDataFrom must not have a name in common: remove it from one of them"
type OpenCXContactSpec struct {
	// organizationRef names the OpenCXOrganization that the contact belongs to.
	// When absent, the operator's default organization, which --default-organization
	// names. While there is no such organization, or it does not allow contacts of
	// this namespace, nothing is sent and Ready is False with reason
	// OrganizationNotFound. To name another organization is to send the contact to
	// that one; the first keeps what it has.
	// +optional
	OrganizationRef *OrganizationReference `json:"organizationRef,omitempty"` //nolint:kubeapilinter // nil is how Go code asks for absent

	// contactID is the ID of the contact in OpenCX, as in the address of its
	// PATCH /contacts/{contact_id}: 1 to 128 letters, digits, dots, underscores,
	// tildes and hyphens. The contact must exist; when OpenCX does not know it,
	// Ready is False with reason ContactNotFound. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9._~-]*$') && self != '.' && self != '..'",message="contactID may contain only letters, digits, '.', '_', '~' and '-', and must not be '.' or '..': copy it from the contact's page in OpenCX"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="contactID is immutable: to manage another contact, create another OpenCXContact"
	ContactID string `json:"contactID,omitempty"`

	// email is the contact's e-mail address, of up to 320 characters. When
	// absent, OpenCX keeps the address it has; an empty address is refused. The
	// API server accepts exactly what OpenCX's own pattern accepts.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=320
	// +kubebuilder:validation:XValidation:rule="self.matches(r\"\"\"^[A-Za-z0-9_'+\\-.]*[A-Za-z0-9_+\\-]@([A-Za-z0-9][A-Za-z0-9\\-]*[.])+[A-Za-z]{2,}$\"\"\")",message="email must be an address that OpenCX accepts, like jane.doe@example.com: before the @ only letters, digits and _ ' + - . with no dot or ' at its end; after it a domain name of letters, digits and hyphens that ends in a dot and at least two letters. To leave OpenCX's address alone, remove the field"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('.')",message="email must not start with a dot: remove it"
	// +kubebuilder:validation:XValidation:rule="!self.contains('..')",message="email must not contain two dots in a row: remove one"
	Email *string `json:"email,omitempty"`

	// emailFrom takes the address from a key of a Secret or ConfigMap in the
	// contact's own namespace; not together with email. While the object or the
	// key does not exist, nothing is sent and Ready is False with reason
	// ValueNotFound. An address that the rules of email refuse makes Ready False
	// with reason ValueInvalid.
	// +optional
	EmailFrom *ValueSource `json:"emailFrom,omitempty"` //nolint:kubeapilinter // nil is how Go code asks for absent

	// phone is the contact's phone number, as text of up to 64 characters in the
	// form OpenCX shall have it, for example "+12025550123". When absent, OpenCX
	// keeps the number it has; "" is sent as it is. A number that OpenCX refuses
	// makes Ready False with reason Rejected. U+0000 is refused here, as in every
	// other text.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="!self.contains('\\u0000')",message="phone must not contain U+0000: remove that character"
	Phone *string `json:"phone,omitempty"`

	// phoneFrom takes the number from a key of a Secret or ConfigMap in the
	// contact's own namespace; not together with phone. While the object or the
	// key does not exist, nothing is sent and Ready is False with reason
	// ValueNotFound.
	// +optional
	PhoneFrom *ValueSource `json:"phoneFrom,omitempty"` //nolint:kubeapilinter // nil is how Go code asks for absent

	// name is the contact's display name, of up to 1024 characters. When absent,
	// OpenCX keeps the name it has; "" is sent as it is. A name that OpenCX refuses
	// makes Ready False with reason Rejected.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.contains('\\u0000')",message="name must not contain U+0000: remove that character"
	Name *string `json:"name,omitempty"`

	// nameFrom takes the name from a key of a Secret or ConfigMap in the
	// contact's own namespace; not together with name. While the object or the
	// key does not exist, nothing is sent and Ready is False with reason
	// ValueNotFound.
	// +optional
	NameFrom *ValueSource `json:"nameFrom,omitempty"` //nolint:kubeapilinter // nil is how Go code asks for absent

	// customData holds up to 64 text values that OpenCX shows its agents and
	// uses in contact segments. A name has up to 256 characters, a value up to
	// 16384, and all together up to 40960. At most 10240 of them may be <, >, & and
	// control characters, so that the cluster can store the contact. A null
	// is refused. When absent, OpenCX keeps what it has; {} is
	// sent as it is. OpenCX does not document whether it then drops the names that are
	// not sent; probably it keeps them, so that a name which is taken out of the
	// manifest stays in OpenCX. To empty one, send it as "". Data that OpenCX refuses
	// makes Ready False with reason Rejected.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MinProperties=0
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 256 && !k.contains('\\u0000'))",message="a name in customData must have at most 256 characters and no U+0000: shorten it, or remove that character"
	// +kubebuilder:validation:XValidation:rule="self.all(k, dyn(self[k]) != null && !self[k].contains('\\u0000'))",message="a value in customData must be text without U+0000, not null: write a text, which may be empty, or remove the name"
	// +kubebuilder:validation:XValidation:rule="self.map(k, size(k) + (dyn(self[k]) == null ? 0 : size(self[k]))).sum() <= 40960",message="customData must have at most 40960 characters in all, names and values together: shorten or remove some"
	// +kubebuilder:validation:XValidation:rule="self.map(k, size(k.findAll('[<>&\\x01-\\x08\\x0b\\x0c\\x0e-\\x1f\\u2028\\u2029]')) + (dyn(self[k]) == null ? 0 : size(self[k].findAll('[<>&\\x01-\\x08\\x0b\\x0c\\x0e-\\x1f\\u2028\\u2029]')))).sum() <= 10240",message="customData must have at most 10240 of the characters <, >, & and control characters, each of which takes six bytes in the cluster: remove some"
	CustomData map[string]string `json:"customData,omitzero"`

	// customDataFrom holds up to 64 more of customData, each taken from a key of a
	// Secret or ConfigMap in the contact's own namespace; no name may stand in
	// both. A name has up to 256 characters, and all names together up to 4096. A null
	// is refused. While an object or a key does not exist, nothing is sent and Ready is
	// False with reason ValueNotFound.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 256 && !k.contains('\\u0000'))",message="a name in customDataFrom must have at most 256 characters and no U+0000: shorten it, or remove that character"
	// +kubebuilder:validation:XValidation:rule="self.all(k, dyn(self[k]) != null)",message="a source in customDataFrom must not be null: name a key of a Secret or ConfigMap, or remove the name"
	// +kubebuilder:validation:XValidation:rule="self.map(k, size(k)).sum() <= 4096",message="the names in customDataFrom must have at most 4096 characters together: shorten some"
	CustomDataFrom map[string]ValueSource `json:"customDataFrom,omitempty"` //nolint:kubeapilinter // the sibling of a map, which OpenCX has

	// httpActionOverrides holds values that OpenCX puts into the HTTP actions
	// it calls on behalf of this contact. When absent, OpenCX keeps what it has.
	// Overrides that OpenCX refuses make Ready False with reason Rejected. OpenCX does
	// not show what it has of them, so a change made elsewhere is not seen; sending
	// them again after the resyncInterval undoes it.
	// +optional
	HTTPActionOverrides *HTTPActionOverrides `json:"httpActionOverrides,omitempty"`

	// resyncInterval is the time after which an unchanged contact is sent
	// again, to undo changes made elsewhere, with up to 10 % added or taken away
	// so that contacts do not all come due at once. It is a duration in ms, s, m
	// and h from 5m to 8760h, such as 30m or 24h. "0s" turns re-sending off.
	// When absent, the resyncInterval of the organization applies, and without that
	// the operator's --resync-interval. Every re-send costs
	// one request of OpenCX's rate limit. A failed one that OpenCX did not
	// refuse leaves Ready True and says so in its message.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,4}([.][0-9]{1,9})?h|[0-9]{1,6}([.][0-9]{1,9})?m|[0-9]{1,8}([.][0-9]{1,9})?s|[0-9]{1,11}([.][0-9]{1,6})?ms)+$') && (duration(self) == duration('0s') || duration(self) >= duration('5m')) && duration(self) <= duration('8760h')",message="resyncInterval must be a duration in ms, s, m and h from 5m to 8760h, such as 30m or 24h; use 0s to turn re-sending off"
	ResyncInterval *metav1.Duration `json:"resyncInterval,omitempty"` //nolint:kubeapilinter // people write intervals as in Flux and cert-manager; the rules above admit only what decodes

	// driftPolicy says what happens when OpenCX turns out to have something else than
	// the manifest declares, in email, phone, name or customData: with Correct, the
	// contact is sent again, less and less often if that does not last; with Report, the
	// condition Drifted says so and nothing is sent; with Ignore, nobody looks. A contact
	// with Report that OpenCX has never accepted is compared first, and sent only when the
	// policy changes, or a reconcile is asked for. When absent, Correct.
	// +optional
	// +kubebuilder:validation:Enum=Correct;Report;Ignore
	DriftPolicy DriftPolicy `json:"driftPolicy,omitempty"`

	// suspend stops the operator from sending this contact while it is true.
	// Setting or clearing it sends nothing by itself; a change that was held
	// back is sent once it is cleared, and shows as Ready Unknown with reason
	// Suspended until then. When absent, false.
	// +optional
	Suspend bool `json:"suspend,omitempty"` //nolint:kubeapilinter // as in CronJob and Flux; there is no third state
}

// HTTPActionOverrides holds values for OpenCX's HTTP actions. Each map is
// independent: one that is absent is not sent, {} is sent as it is. They often
// carry credentials: take those from a Secret, with the …From map beside each.
// +structType=atomic
// +kubebuilder:validation:MinProperties=0
// +kubebuilder:validation:XValidation:rule="!has(self.queryParams) || !has(self.queryParamsFrom) || self.queryParams.all(k, !(k in self.queryParamsFrom))",message="queryParams and queryParamsFrom must not have a name in common: remove it from one of them"
// +kubebuilder:validation:XValidation:rule="!has(self.pathParams) || !has(self.pathParamsFrom) || self.pathParams.all(k, !(k in self.pathParamsFrom))",message="pathParams and pathParamsFrom must not have a name in common: remove it from one of them"
// +kubebuilder:validation:XValidation:rule="!has(self.bodyParams) || !has(self.bodyParamsFrom) || self.bodyParams.all(k, !(k in self.bodyParamsFrom))",message="bodyParams and bodyParamsFrom must not have a name in common: remove it from one of them"
// +kubebuilder:validation:XValidation:rule="!has(self.headers) || !has(self.headersFrom) || self.headers.all(h, self.headersFrom.all(f, f.lowerAscii() != h.lowerAscii()))",message="headers and headersFrom must not have a name in common, in capitals or not: remove it from one of them"
type HTTPActionOverrides struct {
	// queryParams holds up to 64 query parameters. A name has up to 256 characters, a
	// value up to 16384, and all together up to 40960; the other limits are those of
	// customData. When absent, OpenCX keeps what it has; {} is sent as it is. What
	// OpenCX refuses makes Ready False with reason Rejected.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MinProperties=0
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 256 && !k.contains('\\u0000'))",message="a name in queryParams must have at most 256 characters and no U+0000: shorten it, or remove that character"
	// +kubebuilder:validation:XValidation:rule="self.all(k, dyn(self[k]) != null && !self[k].contains('\\u0000'))",message="a value in queryParams must be text without U+0000, not null: write a text, which may be empty, or remove the name"
	// +kubebuilder:validation:XValidation:rule="self.map(k, size(k) + (dyn(self[k]) == null ? 0 : size(self[k]))).sum() <= 40960",message="queryParams must have at most 40960 characters in all, names and values together: shorten or remove some"
	// +kubebuilder:validation:XValidation:rule="self.map(k, size(k.findAll('[<>&\\x01-\\x08\\x0b\\x0c\\x0e-\\x1f\\u2028\\u2029]')) + (dyn(self[k]) == null ? 0 : size(self[k].findAll('[<>&\\x01-\\x08\\x0b\\x0c\\x0e-\\x1f\\u2028\\u2029]')))).sum() <= 10240",message="queryParams must have at most 10240 of the characters <, >, & and control characters, each of which takes six bytes in the cluster: remove some"
	QueryParams map[string]string `json:"queryParams,omitzero"`

	// queryParamsFrom holds up to 64 more of queryParams, each taken from a key of a
	// Secret or ConfigMap in the contact's own namespace; no name may stand in
	// both. A name has up to 256 characters, and all names together up to 4096. A null
	// is refused. While an object or a key does not exist, nothing is sent and Ready is
	// False with reason ValueNotFound.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 256 && !k.contains('\\u0000'))",message="a name in queryParamsFrom must have at most 256 characters and no U+0000: shorten it, or remove that character"
	// +kubebuilder:validation:XValidation:rule="self.all(k, dyn(self[k]) != null)",message="a source in queryParamsFrom must not be null: name a key of a Secret or ConfigMap, or remove the name"
	// +kubebuilder:validation:XValidation:rule="self.map(k, size(k)).sum() <= 4096",message="the names in queryParamsFrom must have at most 4096 characters together: shorten some"
	QueryParamsFrom map[string]ValueSource `json:"queryParamsFrom,omitempty"` //nolint:kubeapilinter // the sibling of a map, which OpenCX has

	// pathParams holds up to 64 path parameters. A name has up to 256 characters, a
	// value up to 16384, and all together up to 40960; the other limits are those of
	// customData. When absent, OpenCX keeps what it has; {} is sent as it is. What
	// OpenCX refuses makes Ready False with reason Rejected.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MinProperties=0
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 256 && !k.contains('\\u0000'))",message="a name in pathParams must have at most 256 characters and no U+0000: shorten it, or remove that character"
	// +kubebuilder:validation:XValidation:rule="self.all(k, dyn(self[k]) != null && !self[k].contains('\\u0000'))",message="a value in pathParams must be text without U+0000, not null: write a text, which may be empty, or remove the name"
	// +kubebuilder:validation:XValidation:rule="self.map(k, size(k) + (dyn(self[k]) == null ? 0 : size(self[k]))).sum() <= 40960",message="pathParams must have at most 40960 characters in all, names and values together: shorten or remove some"
	// +kubebuilder:validation:XValidation:rule="self.map(k, size(k.findAll('[<>&\\x01-\\x08\\x0b\\x0c\\x0e-\\x1f\\u2028\\u2029]')) + (dyn(self[k]) == null ? 0 : size(self[k].findAll('[<>&\\x01-\\x08\\x0b\\x0c\\x0e-\\x1f\\u2028\\u2029]')))).sum() <= 10240",message="pathParams must have at most 10240 of the characters <, >, & and control characters, each of which takes six bytes in the cluster: remove some"
	PathParams map[string]string `json:"pathParams,omitzero"`

	// pathParamsFrom holds up to 64 more of pathParams, each taken from a key of a
	// Secret or ConfigMap in the contact's own namespace; no name may stand in
	// both. A name has up to 256 characters, and all names together up to 4096. A null
	// is refused. While an object or a key does not exist, nothing is sent and Ready is
	// False with reason ValueNotFound.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 256 && !k.contains('\\u0000'))",message="a name in pathParamsFrom must have at most 256 characters and no U+0000: shorten it, or remove that character"
	// +kubebuilder:validation:XValidation:rule="self.all(k, dyn(self[k]) != null)",message="a source in pathParamsFrom must not be null: name a key of a Secret or ConfigMap, or remove the name"
	// +kubebuilder:validation:XValidation:rule="self.map(k, size(k)).sum() <= 4096",message="the names in pathParamsFrom must have at most 4096 characters together: shorten some"
	PathParamsFrom map[string]ValueSource `json:"pathParamsFrom,omitempty"` //nolint:kubeapilinter // the sibling of a map, which OpenCX has

	// bodyParams holds up to 64 body parameters. A name has up to 256 characters, a
	// value up to 16384, and all together up to 40960; the other limits are those of
	// customData. When absent, OpenCX keeps what it has; {} is sent as it is. What
	// OpenCX refuses makes Ready False with reason Rejected.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MinProperties=0
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 256 && !k.contains('\\u0000'))",message="a name in bodyParams must have at most 256 characters and no U+0000: shorten it, or remove that character"
	// +kubebuilder:validation:XValidation:rule="self.all(k, dyn(self[k]) != null && !self[k].contains('\\u0000'))",message="a value in bodyParams must be text without U+0000, not null: write a text, which may be empty, or remove the name"
	// +kubebuilder:validation:XValidation:rule="self.map(k, size(k) + (dyn(self[k]) == null ? 0 : size(self[k]))).sum() <= 40960",message="bodyParams must have at most 40960 characters in all, names and values together: shorten or remove some"
	// +kubebuilder:validation:XValidation:rule="self.map(k, size(k.findAll('[<>&\\x01-\\x08\\x0b\\x0c\\x0e-\\x1f\\u2028\\u2029]')) + (dyn(self[k]) == null ? 0 : size(self[k].findAll('[<>&\\x01-\\x08\\x0b\\x0c\\x0e-\\x1f\\u2028\\u2029]')))).sum() <= 10240",message="bodyParams must have at most 10240 of the characters <, >, & and control characters, each of which takes six bytes in the cluster: remove some"
	BodyParams map[string]string `json:"bodyParams,omitzero"`

	// bodyParamsFrom holds up to 64 more of bodyParams, each taken from a key of a
	// Secret or ConfigMap in the contact's own namespace; no name may stand in
	// both. A name has up to 256 characters, and all names together up to 4096. A null
	// is refused. While an object or a key does not exist, nothing is sent and Ready is
	// False with reason ValueNotFound.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 256 && !k.contains('\\u0000'))",message="a name in bodyParamsFrom must have at most 256 characters and no U+0000: shorten it, or remove that character"
	// +kubebuilder:validation:XValidation:rule="self.all(k, dyn(self[k]) != null)",message="a source in bodyParamsFrom must not be null: name a key of a Secret or ConfigMap, or remove the name"
	// +kubebuilder:validation:XValidation:rule="self.map(k, size(k)).sum() <= 4096",message="the names in bodyParamsFrom must have at most 4096 characters together: shorten some"
	BodyParamsFrom map[string]ValueSource `json:"bodyParamsFrom,omitempty"` //nolint:kubeapilinter // the sibling of a map, which OpenCX has

	// headers holds up to 64 HTTP headers. A name has up to 256 characters, a
	// value up to 16384, and all together up to 40960; the other limits are those of
	// customData. When absent, OpenCX keeps what it has; {} is sent as it is. What
	// OpenCX refuses makes Ready False with reason Rejected.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MinProperties=0
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 256 && !k.contains('\\u0000'))",message="a name in headers must have at most 256 characters and no U+0000: shorten it, or remove that character"
	// +kubebuilder:validation:XValidation:rule="self.all(k, dyn(self[k]) != null && !self[k].contains('\\u0000'))",message="a value in headers must be text without U+0000, not null: write a text, which may be empty, or remove the name"
	// +kubebuilder:validation:XValidation:rule="self.map(k, size(k) + (dyn(self[k]) == null ? 0 : size(self[k]))).sum() <= 40960",message="headers must have at most 40960 characters in all, names and values together: shorten or remove some"
	// +kubebuilder:validation:XValidation:rule="self.map(k, size(k.findAll('[<>&\\x01-\\x08\\x0b\\x0c\\x0e-\\x1f\\u2028\\u2029]')) + (dyn(self[k]) == null ? 0 : size(self[k].findAll('[<>&\\x01-\\x08\\x0b\\x0c\\x0e-\\x1f\\u2028\\u2029]')))).sum() <= 10240",message="headers must have at most 10240 of the characters <, >, & and control characters, each of which takes six bytes in the cluster: remove some"
	Headers map[string]string `json:"headers,omitzero"`

	// headersFrom holds up to 64 more of headers, each taken from a key of a
	// Secret or ConfigMap in the contact's own namespace; no name may stand in
	// both. A name has up to 256 characters, and all names together up to 4096. A null
	// is refused. While an object or a key does not exist, nothing is sent and Ready is
	// False with reason ValueNotFound.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 256 && !k.contains('\\u0000'))",message="a name in headersFrom must have at most 256 characters and no U+0000: shorten it, or remove that character"
	// +kubebuilder:validation:XValidation:rule="self.all(k, dyn(self[k]) != null)",message="a source in headersFrom must not be null: name a key of a Secret or ConfigMap, or remove the name"
	// +kubebuilder:validation:XValidation:rule="self.map(k, size(k)).sum() <= 4096",message="the names in headersFrom must have at most 4096 characters together: shorten some"
	HeadersFrom map[string]ValueSource `json:"headersFrom,omitempty"` //nolint:kubeapilinter // the sibling of a map, which OpenCX has
}

// ValueSource names one key of one Secret or ConfigMap in the contact's own
// namespace. One newline at the end of the value is dropped. When the value
// changes, the contact is sent once; when anything else about the object does, it
// is not, but for the first time after a restart of the operator, which keeps no
// trace of a secret value.
// +structType=atomic
// +kubebuilder:validation:XValidation:rule="has(self.secretKeyRef) != has(self.configMapKeyRef)",message="a source must name exactly one of secretKeyRef and configMapKeyRef"
type ValueSource struct {
	// secretKeyRef names a key of a Secret. Exactly one of secretKeyRef and
	// configMapKeyRef is given; otherwise the API server refuses the contact.
	// +optional
	SecretKeyRef *KeySelector `json:"secretKeyRef,omitempty"` //nolint:kubeapilinter // nil is how Go code asks for absent

	// configMapKeyRef names a key of a ConfigMap. Exactly one of secretKeyRef and
	// configMapKeyRef is given; otherwise the API server refuses the contact.
	// +optional
	ConfigMapKeyRef *KeySelector `json:"configMapKeyRef,omitempty"` //nolint:kubeapilinter // nil is how Go code asks for absent
}

// KeySelector names a key of a Secret or ConfigMap.
// +structType=atomic
type KeySelector struct {
	// name is the name of the Secret or ConfigMap, in the contact's own
	// namespace. While no such object exists, Ready is False with reason
	// ValueNotFound, unless optional is true.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="name must be the name of a Secret or ConfigMap: lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
	Name string `json:"name,omitempty"`

	// key is the key in the object's data. While the object lacks it, Ready is
	// False with reason ValueNotFound, unless optional is true.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._A-Za-z0-9]*$')",message="key must be a key of a Secret or ConfigMap: letters, digits, '-', '_' and '.'"
	Key string `json:"key,omitempty"`

	// optional leaves the value out while the object or the key does not exist,
	// as if this source were not declared. When absent, false.
	// +optional
	Optional bool `json:"optional,omitempty"` //nolint:kubeapilinter // as in the core types; there is no third state
}

// OrganizationReference names an OpenCXOrganization.
// +structType=atomic
type OrganizationReference struct {
	// name is the name of the OpenCXOrganization. While there is none, Ready is
	// False with reason OrganizationNotFound.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="organizationRef.name must be the name of an OpenCXOrganization: lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
	Name string `json:"name,omitempty"`

	// namespace is the namespace of the OpenCXOrganization, which must allow
	// contacts of this namespace. When absent, the contact's own.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="organizationRef.namespace must be the name of a namespace: lower-case letters, digits and '-', starting and ending with a letter or digit"
	Namespace string `json:"namespace,omitempty"`
}

// DriftPolicy says what happens when OpenCX has something else than is declared.
// +enum
type DriftPolicy string

// The values of DriftPolicy.
const (
	// DriftCorrect: the contact is sent again.
	DriftCorrect DriftPolicy = "Correct"
	// DriftReport: the condition Drifted says so.
	DriftReport DriftPolicy = "Report"
	// DriftIgnore: nobody looks.
	DriftIgnore DriftPolicy = "Ignore"
)

// OpenCXContactStatus is what the operator knows about the contact in OpenCX.
// +kubebuilder:validation:MinProperties=0
type OpenCXContactStatus struct {
	// conditions are Ready, Reconciling and Stalled, as kstatus defines them, and
	// Drifted.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MinItems=0
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the metadata.generation that was last attempted, or
	// that needed no request, or that is suspended; -1 before the operator has
	// seen the contact.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"` //nolint:kubeapilinter // no generation is 0, so 0 and absent are the same

	// lastSyncTime is when OpenCX last accepted a PATCH of this contact. Absent
	// before the first.
	// +optional
	LastSyncTime *metav1.Time `json:"lastSyncTime,omitempty"`

	// lastAttemptTime is when a PATCH of this contact was last sent, whatever
	// came back. Absent before the first.
	// +optional
	LastAttemptTime *metav1.Time `json:"lastAttemptTime,omitempty"`

	// nextAttemptTime is the earliest time of the scheduled retry. Absent while
	// none is scheduled.
	// +optional
	NextAttemptTime *metav1.Time `json:"nextAttemptTime,omitempty"`

	// consecutiveFailures counts the attempts of one kind of failure since the last
	// one that OpenCX accepted, without those that were only rate limited. The time until the next attempt grows with it.
	// +optional
	ConsecutiveFailures int32 `json:"consecutiveFailures,omitempty"` //nolint:kubeapilinter // 0 and absent are the same

	// lastVerifiedTime is when OpenCX was last seen to have what the manifest declares.
	// It is written when that follows a change, of the manifest or in OpenCX. Absent
	// before the first time.
	// +optional
	LastVerifiedTime *metav1.Time `json:"lastVerifiedTime,omitempty"`

	// driftedFields are the fields that OpenCX was seen to have otherwise than the manifest
	// declares, as email or customData.plan: the first 16 of them. Absent while Drifted is
	// not True.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=0
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	DriftedFields []string `json:"driftedFields,omitempty"`

	// lastRepairTime is when OpenCX last accepted the contact after it was seen to have
	// something else. Absent before the first time.
	// +optional
	LastRepairTime *metav1.Time `json:"lastRepairTime,omitempty"`

	// consecutiveRepairs counts the repairs between which OpenCX was never left alone for
	// 24 hours. The time until the next one grows with it, to eight hours.
	// +optional
	ConsecutiveRepairs int32 `json:"consecutiveRepairs,omitempty"` //nolint:kubeapilinter // 0 and absent are the same

	// appliedHash identifies what OpenCX has: what the last PATCH that may have been
	// sent carried, which was accepted, to which API and organization. It is computed
	// from what the manifest shows and from no secret. Absent before the first
	// accepted PATCH, and from the moment before a change is sent until OpenCX has
	// accepted it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	AppliedHash string `json:"appliedHash,omitempty"`

	// attemptedHash identifies what the last PATCH carried, whatever came back, and
	// behind an @ the version of the Secret with the API key. A change from this is
	// sent without waiting for nextAttemptTime. Absent before the first PATCH.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	AttemptedHash string `json:"attemptedHash,omitempty"`

	// organization is the namespace/name of the OpenCXOrganization in which the
	// contact was last accepted. Whoever was accepted owns the contactID there.
	// Absent before the first accepted PATCH, and from when on the contact belongs to
	// another organization until that accepts it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=320
	Organization string `json:"organization,omitempty"`

	// lastError is what OpenCX answered to the last attempt when it did not
	// accept it. Absent after a success, and when there was no answer.
	// +optional
	LastError *APIError `json:"lastError,omitempty"` //nolint:kubeapilinter // nil is how Go code asks for absent

	// lastHandledReconcileAt is the value of the annotation
	// contacts.open.cx/reconcile-at that was last attempted, cut to 256 characters.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

// APIError is an error answer of OpenCX (its ErrorDto). Texts are cut to a readable
// length. When one repeats a value that came from a Secret, or the API key, neither is
// shown, and message says so.
type APIError struct {
	// statusCode is the HTTP status code of the answer.
	// +required
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=999
	StatusCode int32 `json:"statusCode,omitempty"`

	// message says what was wrong, in OpenCX's words. Absent when OpenCX gave
	// none that can be shown.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message,omitempty"`

	// error is the name of the error, in OpenCX's words. Absent when OpenCX gave
	// none that can be shown.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Error string `json:"error,omitempty"`
}

// OpenCXContact declares a contact in OpenCX. The operator sends it to OpenCX
// whenever it differs from what OpenCX was last told, and reports in status
// whether OpenCX accepted it. Deleting it leaves OpenCX's record as it is.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=opencxcontacts,shortName=oxc,categories=opencx,scope=Namespaced
// +kubebuilder:printcolumn:name="Contact ID",type=string,JSONPath=`.spec.contactID`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Last Sync",type=date,JSONPath=`.status.lastSyncTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type OpenCXContact struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec declares what OpenCX shall know about the contact.
	// +required
	Spec OpenCXContactSpec `json:"spec,omitzero"`

	// status is what the operator knows about the contact in OpenCX.
	// +optional
	// +default={"observedGeneration":-1}
	Status OpenCXContactStatus `json:"status,omitzero"`
}

// OpenCXContactList is a list of contacts.
// +kubebuilder:object:root=true
type OpenCXContactList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitzero"`
	// items are the contacts.
	Items []OpenCXContact `json:"items"`
}
