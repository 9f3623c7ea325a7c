package controller

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/internal/budget"
)

var _ = Describe("A sweep", func() {
	var w *world
	BeforeEach(func(ctx SpecContext) { w = newWorld(ctx, budget.Limit{Requests: 100, Window: time.Second}) })

	It("ends although the values of a contact change all the time", func(ctx SpecContext) {
		w.lookEvery(time.Second)
		const objects = 32
		var sources []string
		for i := range objects {
			name := fmt.Sprintf("mallory-%02d", i)
			w.putConfigMap(ctx, name, map[string]string{"k": "v", "ballast": strings.Repeat("x", 500_000)}) // so that to read all takes a while
			sources = append(sources, fmt.Sprintf(`"k%02d":{"configMapKeyRef":{"name":%q,"key":"k"}}`, i, name))
		}
		w.declare(ctx, "mallory", `{"customDataFrom":{`+strings.Join(sources, ",")+`}}`)
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		Eventually(w.drifted(ctx, "mallory")).Should(Equal(isVerified))
		Eventually(w.drifted(ctx, "jane")).Should(Equal(isVerified))

		labelling, stop := context.WithCancel(ctx)
		var done sync.WaitGroup
		for range 4 {
			done.Go(func() {
				defer GinkgoRecover()
				for n := 0; labelling.Err() == nil; n++ {
					last := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: fmt.Sprintf("mallory-%02d", objects-1)}}
					if err := k8s.Patch(labelling, last, client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"labels":{"n":"%d"}}}`, n))); labelling.Err() == nil {
						Expect(err).NotTo(HaveOccurred())
					}
				}
			})
		}
		DeferCleanup(func() { stop(); done.Wait() })
		w.editInOpenCX("mallory", "name", "Mallory")
		w.editInOpenCX("jane", "phone", "+12025550123")
		begun := time.Now()
		Eventually(func() time.Time { return w.sweptAt(ctx) }).Should(BeTemporally(">", begun.Add(3*time.Second)))
	})
})
