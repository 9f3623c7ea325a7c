//go:build platforms

package gitops

import (
	"crypto/sha256"
	"fmt"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

// state is one that an object can be in.
type state struct {
	// name is that of the object and of its fixture.
	name string
	// spec is JSON. A contact's contactID is its name when it names none.
	spec string
	// conditions are those that the operator writes: generation seen/declared, and each
	// as type=status:reason.
	conditions string
}

// contactStates has every reason, and every branch of health.lua. The organizations are
// those of organizationStates.
var contactStates = []state{
	{"synced", `{"email":"jane.doe@example.com"}`, "1/1 Ready=True:Synced Drifted=Unknown:NotVerified"},
	{"suspended-synced", `{}`, "2/2 Ready=True:Synced Drifted=Unknown:NotVerified"},
	{"drifted", `{"organizationRef":{"name":"introduced"},"name":"Jane Doe"}`, "2/2 Ready=True:Synced Drifted=True:FieldsDiffer"},
	{"waiting", `{"organizationRef":{"name":"slow"}}`, "-1/1 Ready=Unknown:Waiting Reconciling=True:Waiting"},
	{"rate-limited", `{"organizationRef":{"name":"rate-limited"}}`, "1/1 Ready=Unknown:RateLimited Reconciling=True:RateLimited"},
	{"server-error", `{"organizationRef":{"name":"of-server-error"}}`, "1/1 Ready=False:ServerError Reconciling=True:ServerError"},
	{"server-error-stalled", `{"organizationRef":{"name":"of-server-error-stalled"}}`, "1/1 Ready=False:ServerError Stalled=True:ServerError"},
	{"unreachable", `{"organizationRef":{"name":"of-unreachable"}}`, "1/1 Ready=False:Unreachable Reconciling=True:Unreachable"},
	{"rejected", `{"name":"Jane Doe"}`, "1/1 Ready=False:Rejected Stalled=True:Rejected"},
	{"contact-not-found", `{}`, "1/1 Ready=False:ContactNotFound Stalled=True:ContactNotFound"},
	{"unauthorized", `{"organizationRef":{"name":"unauthorized"}}`, "1/1 Ready=False:Unauthorized Stalled=True:Unauthorized"},
	{"forbidden", `{"organizationRef":{"name":"of-forbidden"}}`, "1/1 Ready=False:Forbidden Stalled=True:Forbidden"},
	{"organization-not-found", `{"organizationRef":{"name":"missing"}}`, "1/1 Ready=False:OrganizationNotFound Reconciling=True:OrganizationNotFound"},
	{"api-key-not-found", `{"organizationRef":{"name":"api-key-not-found"}}`, "1/1 Ready=False:APIKeyNotFound Reconciling=True:APIKeyNotFound"},
	{"api-key-invalid", `{"organizationRef":{"name":"api-key-invalid"}}`, "1/1 Ready=False:APIKeyInvalid Stalled=True:APIKeyInvalid"},
	{"value-not-found", `{"nameFrom":{"secretKeyRef":{"name":"missing","key":"name"}}}`, "1/1 Ready=False:ValueNotFound Reconciling=True:ValueNotFound"},
	{"value-not-found-stalled", `{"nameFrom":{"secretKeyRef":{"name":"missing","key":"name"}}}`, "1/1 Ready=False:ValueNotFound Stalled=True:ValueNotFound"},
	{"value-invalid", `{"emailFrom":{"configMapKeyRef":{"name":"emails","key":"jane"}}}`, "1/1 Ready=False:ValueInvalid Stalled=True:ValueInvalid"},
	{"duplicate", `{"contactID":"synced"}`, "1/1 Ready=False:Duplicate Stalled=True:Duplicate"},
	{"suspended", `{"suspend":true}`, "1/1 Ready=Unknown:Suspended"},
	{"organization-suspended", `{"organizationRef":{"name":"suspended"}}`, "1/1 Ready=Unknown:Suspended"},
	{"reported", `{"organizationRef":{"name":"introduced"},"driftPolicy":"Report","name":"Jane Doe"}`, "1/1 Ready=False:Reported Stalled=True:Reported Drifted=True:FieldsDiffer"},
	{"not-compared", `{"organizationRef":{"name":"introduced"},"driftPolicy":"Report"}`, "1/1 Ready=Unknown:NotCompared Reconciling=True:NotCompared"},
	{"not-compared-stalled", `{"organizationRef":{"name":"introduced"},"driftPolicy":"Report","httpActionOverrides":{}}`, "1/1 Ready=False:NotCompared Stalled=True:NotCompared Drifted=False:Verified"},
	{"edited", `{"name":"Jane Roe"}`, "1/2 Ready=True:Synced Drifted=Unknown:NotVerified"},
	{"new", `{}`, "-1/1"},
}

var states = map[string][]state{contactKind: contactStates, organizationKind: organizationStates}

var organizationStates = []state{
	{"default", `{}`, "1/1 Ready=True:Usable Overcommitted=False:ResyncsFit"},
	// A failure speaks against OpenCX as a whole, so each is in an organization of its own.
	{"of-server-error", `{}`, ""},
	{"of-server-error-stalled", `{}`, ""},
	{"of-unreachable", `{}`, ""},
	{"of-forbidden", `{}`, ""},
	{"introduced", `{"driftCheckInterval":"1m"}`, "1/1 Ready=True:Usable Overcommitted=False:ResyncsFit DriftChecked=True:Swept"},
	{"list-forbidden", `{}`, "1/1 Ready=True:Usable Overcommitted=False:ResyncsFit DriftChecked=False:ListForbidden"},
	{"slow", `{"rateLimit":{"requests":60,"window":"1h"}}`, ""},
	{"rate-limited", `{}`, "1/1 Ready=Unknown:RateLimited Reconciling=True:RateLimited Overcommitted=False:ResyncsFit"},
	{"unavailable", `{}`, "1/1 Ready=False:Unavailable Reconciling=True:Unavailable Overcommitted=False:ResyncsFit"},
	{"unauthorized", `{}`, "1/1 Ready=False:Unauthorized Stalled=True:Unauthorized Overcommitted=False:ResyncsFit"},
	{"api-key-not-found", `{}`, "1/1 Ready=False:APIKeyNotFound Reconciling=True:APIKeyNotFound Overcommitted=False:ResyncsFit"},
	{"api-key-invalid", `{}`, "1/1 Ready=False:APIKeyInvalid Stalled=True:APIKeyInvalid Overcommitted=False:ResyncsFit"},
	{"duplicate-key", `{}`, "1/1 Ready=False:DuplicateKey Stalled=True:DuplicateKey Overcommitted=False:ResyncsFit"},
	{"suspended", `{"suspend":true}`, "1/1 Ready=Unknown:Suspended Overcommitted=False:ResyncsFit"},
	{"new", `{}`, "-1/1"},
}

// more are contacts that bring an organization into its state.
func more() []state {
	contacts := []state{{name: "list-forbidden-1", spec: `{"organizationRef":{"name":"list-forbidden"},"driftPolicy":"Report"}`}}
	for i := range 80 { // more than may be sent in an hour
		contacts = append(contacts, state{name: fmt.Sprintf("slow-%d", i), spec: `{"organizationRef":{"name":"slow"}}`})
	}
	for _, name := range []string{"unauthorized", "unavailable"} {
		for i := range 3 {
			contacts = append(contacts, state{name: fmt.Sprintf("%s-%d", name, i+1), spec: fmt.Sprintf(`{"organizationRef":{"name":%q}}`, name)})
		}
	}
	return contacts
}

// answers are what OpenCX says of each contactID; of others, that all is well.
func answers() map[string]opencxtest.Answer {
	tooMany := opencxtest.Failure(429, "Rate limit exceeded")
	tooMany.Header["Retry-After"] = "3600"
	broken, refused := opencxtest.Failure(500, "Something went wrong"), opencxtest.Failure(401, "Invalid API key")
	return map[string]opencxtest.Answer{
		"drifted":      {Status: 200}, // and it keeps what it has
		"rate-limited": tooMany, "server-error": broken, "server-error-stalled": broken, "unreachable": {Break: opencxtest.Reset},
		"rejected":          opencxtest.Failure(422, "name must be longer"),
		"contact-not-found": opencxtest.Failure(404, "Contact not found"),
		"forbidden":         opencxtest.Failure(403, "Missing scope"),
		"unauthorized":      refused, "unauthorized-1": refused, "unauthorized-2": refused, "unauthorized-3": refused,
		"unavailable-1": broken, "unavailable-2": broken, "unavailable-3": broken,
	}
}

// keyOf is an API key that no text repeats, because OpenCX's answer would be withheld then.
func keyOf(name string) string { return fmt.Sprintf("ocx_live_%x", sha256.Sum256([]byte(name))) }
