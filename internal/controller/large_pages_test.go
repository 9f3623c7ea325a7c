package controller

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/opencx-labs/opencx-operator/internal/budget"
)

var _ = Describe("A sweep of contacts as large as they may be", func() {
	It("sees those of others all the same", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 100, Window: time.Second})
		w.lookEvery(time.Second)
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		Eventually(w.drifted(ctx, "jane")).Should(Equal(isVerified))
		data := `"a":"` + strings.Repeat("😀", 16384) + `","b":"` + strings.Repeat("😀", 16384) + `","c":"` + strings.Repeat("😀", 8000) + `"`
		const hostile = 60
		for i := range hostile {
			w.declare(ctx, fmt.Sprintf("mallory-%02d", i), `{"customData":{`+data+`}}`)
		}
		for i := range hostile {
			w.expectSynced(ctx, fmt.Sprintf("mallory-%02d", i), 1)
		}
		w.editInOpenCX("jane", "name", "Joan")
		Eventually(func() any { c, _ := w.simulator.Contact("jane"); return c.Fields["name"] }).Should(Equal("Jane"))
	})
})
