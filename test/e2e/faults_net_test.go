//go:build faults

package e2e

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest/history"
)

var _ = Describe("On the way to OpenCX", func() {
	It("nothing is lost or repeated in vain in a network that resets, cuts, hangs and is slow", func(ctx SpecContext) {
		random := newRandom()
		w := newWorld(ctx, 3, opencxtest.Options{})
		r := w.start(ctx, "a")
		w.leader(ctx)
		for _, toxic := range []string{
			`"type":"reset_peer","stream":"upstream","attributes":{"timeout":20}`,
			`"type":"reset_peer","stream":"downstream","attributes":{"timeout":20}`,
			fmt.Sprintf(`"type":"limit_data","stream":"upstream","attributes":{"bytes":%d}`, 1+random.IntN(2000)),
			fmt.Sprintf(`"type":"limit_data","stream":"downstream","attributes":{"bytes":%d}`, 1+random.IntN(300)),
			`"type":"timeout","stream":"upstream","attributes":{"timeout":500}`,
			`"type":"timeout","stream":"downstream","attributes":{"timeout":500}`,
			`"type":"timeout","stream":"downstream","attributes":{"timeout":0}`, // until it is removed
			`"type":"latency","stream":"downstream","attributes":{"latency":500,"jitter":500}`,
			`"type":"bandwidth","stream":"upstream","attributes":{"rate":1}`,
			`"type":"slicer","stream":"downstream","attributes":{"average_size":10,"size_variation":5,"delay":20000}`,
		} {
			w.declare(ctx, 20)
			// With pauses, because an open circuit breaker lets too little through.
			for range 3 {
				_, err := w.network.Toxics.AddToxicJson(strings.NewReader(`{"name":"turn",` + toxic + `}`))
				Expect(err).NotTo(HaveOccurred(), toxic)
				for range 3 {
					w.edit(ctx, w.any(random))
				}
				time.Sleep(time.Second)
				Expect(w.network.Toxics.RemoveToxic(ctx, "turn")).To(Succeed(), toxic)
				time.Sleep(time.Second)
			}
		}
		w.settle(ctx)
		w.check(ctx, allowances{repeats: w.unheard(ctx, r)})
	})

	It("an outage costs few requests, whether nobody listens or a gateway answers 503", func(ctx SpecContext) {
		w := newWorld(ctx, 3, opencxtest.Options{})
		r := w.start(ctx, "a")
		w.declare(ctx, 30)
		w.settle(ctx)
		synced := slices.Clone(w.names)
		w.declare(ctx, 200)
		w.awaitAccepted(ctx, 100)
		w.network.Stop()
		began, before := time.Now(), r.calls(ctx)
		const caps = 3
		half := caps * 4 * w.limit.Window / 2
		for _, name := range synced[:5] {
			w.edit(ctx, name)
			time.Sleep(half / 5)
		}
		w.simulator.InjectFunc(func(opencxtest.Request) (opencxtest.Answer, bool) {
			return opencxtest.Failure(http.StatusServiceUnavailable, "Service Unavailable"), true
		})
		Expect(w.network.Start()).To(Succeed())
		for _, name := range synced[5:10] {
			w.edit(ctx, name)
			time.Sleep(half / 5)
		}
		during := 0
		for code, n := range r.calls(ctx) {
			during += n - before[code]
		}
		outage := time.Since(began)
		w.simulator.ClearFaults()
		AddReportEntry("requests in the outage", during)
		// What was under way, and what a twelfth of a window brings before a contact that
		// was never tried tells of an outage; three witnesses; one of each namespace;
		// probes after a twelfth of a window and then twice as long each, up to the cap;
		// each edit of a contact that OpenCX has accepted.
		probes := 0
		for at, pause := time.Duration(0), w.limit.Window/12; at+pause < outage; pause = min(2*pause, 4*w.limit.Window) {
			at += pause
			probes++
		}
		Expect(during).To(BeNumerically("<=", inFlight+w.limit.Requests/12+3+len(w.namespaces)+probes+10))
		w.settle(ctx)
		w.check(ctx, allowances{repeats: w.unheard(ctx, r)})
	})

	It("nothing is lost while OpenCX has no address", func(ctx SpecContext) {
		w := newWorld(ctx, 3, opencxtest.Options{})
		secure := httptest.NewUnstartedServer(w.simulator)
		secure.EnableHTTP2 = true
		secure.StartTLS()
		DeferCleanup(secure.Close)
		w.network.Upstream = secure.Listener.Addr().String()
		_, port, err := net.SplitHostPort(w.network.Listen)
		Expect(err).NotTo(HaveOccurred())
		w.url = "https://example.com:" + port // which the certificate is for
		file := func(name string, mode os.FileMode, text string) string {
			path := filepath.Join(w.folder, name)
			Expect(os.WriteFile(path, []byte(text), mode)).To(Succeed())
			return path
		}
		authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
		w.env = []string{"SSL_CERT_FILE=" + file("authority.pem", 0o600, string(authority)), "HTTPS_PROXY="}
		const known, gone = "127.0.0.1 localhost example.com\n", "127.0.0.1 localhost\n"
		hosts := file("hosts", 0o600, known)
		resolver := file("resolv.conf", 0o600, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n") // where nobody answers
		w.launch = func(options operatortest.OperatorOptions) (*operatortest.Operator, error) {
			unshare := "unshare --mount"
			if os.Geteuid() != 0 {
				unshare += " --map-root-user"
			}
			options.Binary = file("operator.sh", 0o700, fmt.Sprintf(
				"#!/bin/sh\nexec %s sh -c 'mount --bind %s /etc/hosts && mount --bind %s /etc/resolv.conf && exec %s \"$@\"' operator \"$@\"\n",
				unshare, hosts, resolver, options.Binary))
			return operatortest.LaunchOperator(options)
		}
		r := w.start(ctx, "a")
		w.declare(ctx, 200)
		w.awaitAccepted(ctx, 90)
		early := w.names[:20]

		file("hosts", 0o600, gone)
		time.Sleep(6 * time.Second) // an address is remembered for five
		w.network.Stop()            // connections need no address
		Expect(w.network.Start()).To(Succeed())
		for _, name := range early {
			w.edit(ctx, name)
		}
		at := w.accepted()
		Eventually(ctx, func(g Gomega) {
			w.mu.Lock()
			defer w.mu.Unlock()
			var messages []string
			for _, name := range early {
				ready := meta.FindStatusCondition(w.kept[name].Conditions, v1alpha1.ReadyCondition)
				g.Expect(ready.Status).NotTo(Equal(metav1.ConditionTrue), "%s", name)
				messages = append(messages, ready.Message)
			}
			g.Expect(messages).To(ContainElement(ContainSubstring("lookup example.com")))
		}).Should(Succeed())
		Expect(w.accepted()).To(Equal(at))
		file("hosts", 0o600, known)
		w.settle(ctx)
		w.check(ctx, allowances{repeats: w.unheard(ctx, r)})
	})
})

// unheard is how many requests for what OpenCX has accepted were answered otherwise to the
// only replica so far, or not at all. Each of them is a reason to send that once more.
func (w *world) unheard(ctx context.Context, r *replica) int {
	GinkgoHelper()
	byContact, _ := w.requests()
	n := -r.calls(ctx)["200"]
	for _, requests := range byContact {
		accepted := map[history.Version]bool{}
		for _, request := range requests {
			if !request.AcceptedAt.IsZero() {
				accepted[request.Version] = true
			}
			if accepted[request.Version] {
				n++
			}
		}
	}
	return n
}

// calls counts the requests for which the operator has had an answer, by its status code,
// or "none".
func (r *replica) calls(ctx context.Context) map[string]int {
	GinkgoHelper()
	counts := map[string]int{}
	for _, found := range requestsCounted.FindAllStringSubmatch(r.scrape(ctx), -1) {
		n, err := strconv.Atoi(found[2])
		Expect(err).NotTo(HaveOccurred())
		counts[found[1]] = n
	}
	return counts
}

var requestsCounted = regexp.MustCompile(`(?m)^opencx_api_requests_total\{code="(\w+)",method="PATCH"\} (\d+)$`)
