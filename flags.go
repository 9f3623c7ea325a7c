package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/organization"
)

// options are the settings of the operator, checked.
type options struct {
	apiURL                  *url.URL
	rateLimit               budget.Limit
	budgetShare             float64
	ownNamespace            string
	defaultOrganization     types.NamespacedName
	scope                   organization.Scope
	resyncInterval          time.Duration
	maxConcurrentReconciles int
	leaderElect             bool
	metricsAddress          string
	metricsSecure           bool
	probeAddress            string
	pprofAddress            string
	eventsAddress           string
	eventsURL               *url.URL // nil without one
	zap                     zap.Options
}

const usage = `The OpenCXContact operator keeps the contacts of OpenCX equal to the
OpenCXContact objects of a Kubernetes cluster.

API keys are kept in Secrets, which OpenCXOrganization objects name. Durations are
written like 90s, 30m or 24h.

Flags:
`

// parseFlags reads args into options of an operator in ownNamespace. Its errors name
// the flag and what would be right. flag.ErrHelp means that help, or the version, was
// asked for and printed to help.
func parseFlags(flags *flag.FlagSet, args []string, ownNamespace string, help io.Writer) (options, error) {
	opts := options{rateLimit: budget.DefaultLimit, ownNamespace: ownNamespace}
	apiURL := flags.String("opencx-api-url", opencx.DefaultBaseURL,
		"address of the OpenCX API: https, or http to a loopback address")
	flags.Var(&opts.rateLimit, "opencx-rate-limit",
		"most that an organization may send, as `requests/window`, such as 100/1m; an OpenCXOrganization may lower it for itself, and not raise it")
	flags.Float64Var(&opts.budgetShare, "budget-share", 1,
		"`part` of every organization's limit that this instance may use, for shards and clusters that share an organization: more than 0 and at most 1")
	defaultOrganization := flags.String("default-organization", ownNamespace+"/default",
		"OpenCXOrganization of contacts that name none, as `namespace/name`")
	flags.StringVar(&opts.scope.DefaultAPIKeySecret, "default-api-key-secret", "opencx-api-key",
		"`name` of the only Secret that is read in the namespace of the default organization, when --watch-namespaces is set and lacks that namespace")
	flags.DurationVar(&opts.resyncInterval, "resync-interval", 24*time.Hour,
		"time after which an unchanged contact is sent again when neither it nor its organization sets a resyncInterval; 5m or longer, or 0s for never")
	watchNamespaces := flags.String("watch-namespaces", "",
		"`namespaces` whose contacts are looked after, separated by commas; when empty, all")
	watchLabelSelector := flags.String("watch-label-selector", "",
		"label `selector` of the contacts that are looked after, such as shard=a; it does not apply to organizations, Secrets and ConfigMaps; when empty, all")
	flags.IntVar(&opts.maxConcurrentReconciles, "max-concurrent-reconciles", 10,
		"contacts that are sent at the same time, from 1 to 100")
	flags.BoolVar(&opts.leaderElect, "leader-elect", false,
		"elect a leader, so that of several replicas one is active")
	flags.Bool("version", false, "print the version and end")
	opts.endpointFlags(flags)
	opts.zap.BindFlags(flags)
	if err := readArgs(flags, args, help); err != nil {
		return options{}, err
	}
	if rest := flags.Args(); len(rest) > 0 {
		return options{}, fmt.Errorf("unexpected argument %q: settings are given as --flag=value", rest[0])
	}
	if len(validation.IsDNS1123Label(ownNamespace)) > 0 {
		return options{}, fmt.Errorf("the environment variable POD_NAMESPACE: %q is no name of a namespace: use that of the operator, such as opencx-system", ownNamespace)
	}
	var err error
	if opts.apiURL, err = opencx.ParseBaseURL(*apiURL); err != nil {
		return options{}, fmt.Errorf("--opencx-api-url: %w", err)
	}
	if opts.defaultOrganization, err = parseName(*defaultOrganization); err != nil {
		return options{}, fmt.Errorf("--default-organization: %w", err)
	}
	if opts.scope.Namespaces, err = parseNamespaces(*watchNamespaces); err != nil {
		return options{}, fmt.Errorf("--watch-namespaces: %w", err)
	}
	selector, err := labels.Parse(*watchLabelSelector)
	if err != nil {
		return options{}, fmt.Errorf("--watch-label-selector: %w: write it as for kubectl get --selector", err)
	}
	if !selector.Empty() {
		opts.scope.Contacts = selector
	}
	if err := opts.checkAddresses(); err != nil {
		return options{}, err
	}
	return opts, opts.check()
}

// readArgs sets flags. It ends in flag.ErrHelp, or in an error with a sentence, as
// parseFlags does.
func readArgs(flags *flag.FlagSet, args []string, help io.Writer) error {
	flags.Init(flags.Name(), flag.ContinueOnError)
	flags.Usage = func() {} // a mistake is answered with a sentence, not with a page
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(help)
		_, _ = fmt.Fprint(help, usage)
		flags.PrintDefaults()
		return err
	}
	if err != nil {
		return explain(flags, err)
	}
	if flags.Lookup("version").Value.String() == "true" {
		_, _ = fmt.Fprintln(help, "opencx-operator", version)
		return flag.ErrHelp
	}
	return nil
}

// badValue is what the package flag says of a value that its type does not take.
var badValue = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-(\S+): (.*)$`)

// zapValues are those of the flags of controller-runtime's logger, whose errors do not
// name them.
var zapValues = map[string]string{
	"zap-log-level":        "debug, info, error, panic or a number above 0",
	"zap-stacktrace-level": "info, error or panic",
	"zap-encoder":          "json or console",
	"zap-time-encoding":    "epoch, millis, nano, iso8601, rfc3339 or rfc3339nano",
}

// explain makes a sentence that says what would be right of an error of the package flag.
func explain(flags *flag.FlagSet, err error) error {
	found := badValue.FindStringSubmatch(err.Error())
	if found == nil {
		return fmt.Errorf("%w; --help lists the flags", err)
	}
	right := "true or false"
	if zapRight, is := zapValues[found[2]]; is {
		right = zapRight
	} else if found[3] != "parse error" {
		return fmt.Errorf("--%s: %s is not right: %s", found[2], found[1], found[3])
	} else if typed, is := flags.Lookup(found[2]).Value.(flag.Getter); is {
		switch typed.Get().(type) {
		case time.Duration:
			right = "a duration such as 90s, 30m or 24h"
		case float64:
			right = "a number such as 0.5"
		case int:
			right = "a whole number such as 10"
		}
	}
	return fmt.Errorf("--%s: %s is not right: use %s", found[2], found[1], right)
}

// check looks at the numbers, and at a name.
func (o *options) check() error {
	share, interval, n := o.budgetShare, o.resyncInterval, o.maxConcurrentReconciles
	switch {
	case !(share > 0 && share <= 1): // so that NaN is refused, too
		return fmt.Errorf("--budget-share: %g is not more than 0 and at most 1: use 0.5 for each of two instances that share an organization", share)
	case o.rateLimit.Part(share).Window > o.rateLimit.Window:
		return fmt.Errorf("--budget-share: %g of %s is no request: use a larger share, or a higher --opencx-rate-limit if OpenCX allows it", share, o.rateLimit)
	case interval < 0:
		return fmt.Errorf("--resync-interval: %s is negative: use a duration such as 24h, or 0s for never", interval)
	case interval > 0 && interval < organization.MinResyncInterval:
		return fmt.Errorf("--resync-interval: %s is shorter than 5m: use 5m or a longer duration such as 24h, or 0s for never", interval)
	case len(validation.IsDNS1123Subdomain(o.scope.DefaultAPIKeySecret)) > 0:
		return fmt.Errorf("--default-api-key-secret: %q is no name of a Secret: use one such as opencx-api-key", o.scope.DefaultAPIKeySecret)
	case n < 1 || n > 100:
		return fmt.Errorf("--max-concurrent-reconciles: %d is not from 1 to 100: use 10 unless requests take long", n)
	}
	return nil
}

// parseNamespaces reads a,b; "" is none.
func parseNamespaces(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	namespaces := strings.Split(s, ",")
	for _, namespace := range namespaces {
		if len(validation.IsDNS1123Label(namespace)) > 0 {
			return nil, fmt.Errorf("%q is no name of a namespace: write names in lower case, separated by single commas, without spaces, such as shop,crm", namespace)
		}
	}
	return namespaces, nil
}

// parseName reads namespace/name.
func parseName(s string) (types.NamespacedName, error) {
	name := organization.ParseName(s)
	if len(validation.IsDNS1123Label(name.Namespace)) > 0 || len(validation.IsDNS1123Subdomain(name.Name)) > 0 {
		return name, fmt.Errorf("%q does not name an OpenCXOrganization: write namespace/name in lower case, such as crm/default", s)
	}
	return name, nil
}
