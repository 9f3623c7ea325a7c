package controller

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientrest "k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/opencx-labs/opencx-operator/internal/budget"
)

var _ = Describe("A status patch that the API server answers with 422", func() {
	It("is repeated when nothing but the spelling of a time was another one", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		for _, name := range []string{"jane", "joe"} {
			w.declare(ctx, name, `{"name":"old"}`)
			w.expectSynced(ctx, name, 1)
		}
		respelt := func(name string) string {
			return `"lastAttemptTime":"` + w.get(ctx, name).Status.LastAttemptTime.UTC().Format("2006-01-02T15:04:05+00:00") + `"`
		}
		w.patchStatus(ctx, "jane", `{"status":{`+respelt("jane")+`}}`)
		w.patchStatus(ctx, "joe", `{"status":{`+respelt("joe")+`,"appliedHash":null}}`)
		for _, name := range []string{"jane", "joe"} {
			w.edit(ctx, name, `{"spec":{"name":"new"}}`)
			w.expectSynced(ctx, name, 2)
		}
		w.expectNoMore(4)
	})

	It("because a webhook denies it costs one request, and is repeated with a backoff", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.stop()
		var denied atomic.Int32
		var denies atomic.Bool
		w.newClient = func(config *clientrest.Config, options client.Options) (client.Client, error) {
			direct, err := client.NewWithWatch(config, options)
			return interceptor.NewClient(direct, interceptor.Funcs{
				SubResourcePatch: func(ctx context.Context, c client.Client, subResource string, object client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
					if denies.Load() && object.GetName() == "jane" {
						denied.Add(1)
						return apierrors.NewInvalid(schema.GroupKind{Kind: "OpenCXContact"}, "jane", nil)
					}
					return c.SubResource(subResource).Patch(ctx, object, patch, opts...)
				},
			}), err
		}
		w.startOperator()
		denies.Store(true)
		w.declare(ctx, "jane", `{}`)
		Eventually(w.journal).Should(HaveLen(1))
		time.Sleep(6 * time.Second)
		w.expectNoMore(1)
		Expect(denied.Load()).To(BeNumerically("<", 30), "writes in 7 s")
		denies.Store(false)
		w.expectSynced(ctx, "jane", 1)
		w.expectNoMore(1)
	})
})

func TestANoteIsCutToWhatAnEventHasRoomFor(t *testing.T) {
	for name, tt := range map[string]struct{ note, want string }{
		"a short one":     {"OpenCX answered 404", "OpenCX answered 404"},
		"the longest":     {strings.Repeat("é", 512), strings.Repeat("é", 512)},
		"one that is cut": {strings.Repeat("é", 513), strings.Repeat("é", 510) + "…"},
	} {
		if got := cutNote(tt.note); got != tt.want || len(got) > 1024 {
			t.Errorf("%s: %d bytes, want %d", name, len(got), len(tt.want))
		}
	}
}
