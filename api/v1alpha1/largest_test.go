package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// etcd takes requests of 1.5 MiB. A contact that is just below would never have a
// status, so the bounds leave room for the longest one.

// fullMap is a map that takes as many bytes as its bounds allow: 10240 characters of
// six bytes each, and the others of four.
func fullMap() map[string]string {
	all := map[string]string{}
	for i := range 59 {
		all[fmt.Sprintf("%03d", i)] = strings.Repeat("<", 173) + strings.Repeat("😀", 517)
	}
	all["rest"] = strings.Repeat("\x01", 33) + strings.Repeat("😀", 36)
	return all
}

// fullSources is the same for a …From map.
func fullSources(character string) map[string]v1alpha1.ValueSource {
	all := map[string]v1alpha1.ValueSource{}
	for i := range 64 {
		all[fmt.Sprintf("f%03d", i)+strings.Repeat(character, 60)] = v1alpha1.ValueSource{
			ConfigMapKeyRef: &v1alpha1.KeySelector{Name: strings.Repeat("a", 253), Key: strings.Repeat("k", 253), Optional: true},
		}
	}
	return all
}

// largest is the contact that takes the most bytes of all that the CRD admits, give or
// take a kilobyte, with the largest annotation that the API server admits.
func largest() *v1alpha1.OpenCXContact {
	return &v1alpha1.OpenCXContact{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: strings.Repeat("n", 253), Annotations: map[string]string{"a": strings.Repeat("a", 256<<10-1)}},
		Spec: v1alpha1.OpenCXContactSpec{
			OrganizationRef: &v1alpha1.OrganizationReference{Name: strings.Repeat("o", 253), Namespace: strings.Repeat("n", 63)},
			ContactID:       strings.Repeat("c", 128),
			Email:           new(strings.Repeat("a", 308) + "@example.com"),
			Phone:           new(strings.Repeat("<", 64)),
			Name:            new(strings.Repeat("<", 1024)),
			CustomData:      fullMap(), CustomDataFrom: fullSources("<"),
			HTTPActionOverrides: &v1alpha1.HTTPActionOverrides{
				QueryParams: fullMap(), QueryParamsFrom: fullSources("<"),
				PathParams: fullMap(), PathParamsFrom: fullSources("\x01"),
				BodyParams: fullMap(), BodyParamsFrom: fullSources("<"),
				Headers: fullMap(), HeadersFrom: fullSources("\u2028"),
			},
		},
	}
}

// longestStatus is longer than any that the operator writes: OpenCX's texts are cut to
// 512 bytes, the names in a message to what the CRD admits.
func longestStatus() v1alpha1.OpenCXContactStatus {
	text := strings.Repeat("<", 512)
	condition := metav1.Condition{Status: metav1.ConditionFalse, Reason: "OrganizationNotFound", ObservedGeneration: 1, LastTransitionTime: metav1.Now(), Message: strings.Repeat("<", 2000)}
	s := v1alpha1.OpenCXContactStatus{
		ObservedGeneration: 1, ConsecutiveFailures: 1 << 30,
		LastSyncTime: new(metav1.Now()), LastAttemptTime: new(metav1.Now()), NextAttemptTime: new(metav1.Now()),
		AppliedHash: strings.Repeat("h", 128), AttemptedHash: strings.Repeat("h", 128), Organization: strings.Repeat("o", 317),
		LastError:              &v1alpha1.APIError{StatusCode: 422, Message: text, Error: text},
		LastHandledReconcileAt: strings.Repeat("<", 256),
	}
	for _, conditionType := range []string{v1alpha1.ReadyCondition, v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition} {
		condition.Type = conditionType
		s.Conditions = append(s.Conditions, condition)
	}
	return s
}

var _ = Describe("The largest contact that the CRD admits", func() {
	It("has room for a status, and for labels", func(ctx SpecContext) {
		contact := largest()
		Expect(k8s.Create(ctx, contact)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(k8s.Delete(ctx, contact)).To(Succeed()) })

		By("every map, and every list of names, full")
		one := contact.DeepCopy()
		one.ResourceVersion = ""
		one.Spec.CustomData["rest"] += "😀"
		Expect(k8s.Create(ctx, one, client.DryRunAll)).To(MatchError(ContainSubstring("customData must have at most 40960 characters in all")))
		one = contact.DeepCopy()
		one.Spec.CustomData["rest"] = strings.Replace(one.Spec.CustomData["rest"], "😀", "<", 1)
		one.ResourceVersion = ""
		Expect(k8s.Create(ctx, one, client.DryRunAll)).To(MatchError(ContainSubstring("customData must have at most 10240 of the characters")))

		By("a status")
		status, err := json.Marshal(longestStatus())
		Expect(err).NotTo(HaveOccurred())
		Expect(k8s.Status().Patch(ctx, contact, client.RawPatch(types.JSONPatchType, []byte(`[{"op":"add","path":"/status","value":`+string(status)+`}]`)))).To(Succeed())
		Expect(contact.Status.Conditions).To(HaveLen(3))
		Expect(k8s.Patch(ctx, contact, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"team":"support"}}}`)))).To(Succeed())
	})
})
