package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	clientrest "k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
)

// beforeStatus makes clients for operators that call before each status write.
func beforeStatus(before func(ctx context.Context, object client.Object, patch string) error) client.NewClientFunc {
	return func(config *clientrest.Config, options client.Options) (client.Client, error) {
		direct, err := client.NewWithWatch(config, options)
		return interceptor.NewClient(direct, interceptor.Funcs{
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, object client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
				data, err := patch.Data(object)
				if err = errors.Join(err, before(ctx, object, string(data))); err != nil {
					return err
				}
				return c.SubResource(sub).Patch(ctx, object, patch, opts...)
			},
		}), err
	}
}

var _ = Describe("A slow API server", func() {
	It("has nobody wait who was called, while thousands are told that they wait", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 10, Window: 2 * time.Second})
		w.stop()
		var told atomic.Int32
		w.newClient = beforeStatus(func(_ context.Context, _ client.Object, patch string) error {
			if strings.Contains(patch, atAbout) {
				told.Add(1)
				time.Sleep(2 * time.Second)
			}
			return nil
		})
		w.startOperator()
		w.declare(ctx, "first", `{}`)
		w.expectSynced(ctx, "first", 1)
		for i := range 400 {
			w.declare(ctx, fmt.Sprintf("jane-%d", i), `{}`)
		}
		sent, before := len(w.journal()), told.Load()
		Eventually(func() int { return len(w.journal()) }, time.Minute).Should(BeNumerically(">", sent+30))
		Expect(told.Load()-before).To(BeNumerically("<", 200), "told that they wait, while 30 were sent")
	}, SpecTimeout(2*time.Minute))

	It("is asked again when it does not answer the write of an organization's status", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.expectOrganization(ctx, "default", "1/1 Ready=True:Usable")
		w.stop()
		var hung atomic.Bool
		w.newClient = beforeStatus(func(ctx context.Context, object client.Object, _ string) error {
			if _, is := object.(*v1alpha1.OpenCXOrganization); is && hung.CompareAndSwap(false, true) {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		w.startOperator()
		w.declare(ctx, "jane", `{}`)
		Eventually(func() *int32 { return w.getOrganization(ctx, "default").Status.Contacts.Ready }, 30*time.Second).Should(HaveValue(BeEquivalentTo(1)))
		Expect(hung.Load()).To(BeTrue())
	})
})
