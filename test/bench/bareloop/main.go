// Bareloop is what the operator is measured beside: the least that a
// controller-runtime controller can do with a contact, which is to get it from
// the cache, PATCH it and patch its status once. It has no budget, no retries, no
// conditions and no Secrets.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"

	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// workers is how many contacts are worked on at the same time, as in the operator.
const workers = 10

type reconciler struct {
	client.Client
	apiURL, key string
}

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	contact := &v1alpha1.OpenCXContact{}
	if err := r.Get(ctx, request.NamespacedName, contact); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if contact.Status.ObservedGeneration == contact.Generation {
		return ctrl.Result{}, nil
	}
	body, err := json.Marshal(map[string]any{"contact": map[string]any{"name": contact.Spec.Name, "custom_data": contact.Spec.CustomData}})
	if err != nil {
		return ctrl.Result{}, err
	}
	patch, err := http.NewRequestWithContext(ctx, http.MethodPatch, r.apiURL+"/contacts/"+url.PathEscape(contact.Spec.ContactID), bytes.NewReader(body))
	if err != nil {
		return ctrl.Result{}, err
	}
	patch.Header.Set("Authorization", "Bearer "+r.key)
	patch.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(patch)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := response.Body.Close(); err != nil {
		return ctrl.Result{}, err
	}
	if response.StatusCode != http.StatusOK {
		return ctrl.Result{}, fmt.Errorf("patching contact: status %d", response.StatusCode)
	}
	status := `{"status":{"observedGeneration":` + strconv.FormatInt(contact.Generation, 10) + `}}`
	return ctrl.Result{}, r.Status().Patch(ctx, contact, client.RawPatch("application/merge-patch+json", []byte(status)))
}

func main() {
	flag.Parse() // --kubeconfig
	if err := run(os.Getenv("OPENCX_API_URL"), os.Getenv("OPENCX_API_KEY")); err != nil {
		fmt.Fprintf(os.Stderr, "bareloop: %s\n", err)
		os.Exit(1)
	}
}

func run(apiURL, key string) error {
	ctrl.SetLogger(zap.New())
	// Enough connections that each worker keeps its own.
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = workers
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	config.QPS = -1
	mgr, err := ctrl.NewManager(config, ctrl.Options{Scheme: scheme, Metrics: server.Options{BindAddress: "0"}})
	if err != nil {
		return err
	}
	if err := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.OpenCXContact{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(&reconciler{mgr.GetClient(), apiURL, key}); err != nil {
		return err
	}
	return mgr.Start(ctrl.SetupSignalHandler())
}
