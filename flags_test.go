package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencx-labs/opencx-operator/internal/budget"
)

func parse(args ...string) (options, string, error) {
	var help bytes.Buffer
	opts, err := parseFlags(flag.NewFlagSet("manager", flag.ContinueOnError), args, "opencx-system", &help)
	return opts, help.String(), err
}

func TestDefaultsAreThoseOfOpenCX(t *testing.T) {
	opts, _, err := parse()
	if err != nil || opts.apiURL.String() != "https://api.open.cx" || opts.rateLimit != (budget.Limit{Requests: 100, Window: time.Minute}) ||
		opts.defaultOrganization.String() != "opencx-system/default" || opts.budgetShare != 1 || opts.resyncInterval != 24*time.Hour || !opts.metricsSecure || opts.leaderElect {
		t.Errorf("options = %+v, error = %v", opts, err)
	}
}

func TestFlagsAreRead(t *testing.T) {
	opts, _, err := parse("--opencx-api-url=https://gw.example.com/x/", "--opencx-rate-limit=60/30s", "--default-organization=crm/acme", "--resync-interval=0s")
	if err != nil || opts.apiURL.String() != "https://gw.example.com/x" || opts.rateLimit != (budget.Limit{Requests: 60, Window: 30 * time.Second}) ||
		opts.defaultOrganization.String() != "crm/acme" || opts.resyncInterval != 0 {
		t.Errorf("options = %+v, error = %v", opts, err)
	}
}

func TestTheShortestResyncIntervalIsFiveMinutes(t *testing.T) {
	opts, _, err := parse("--resync-interval=5m")
	if err != nil || opts.resyncInterval != 5*time.Minute {
		t.Errorf("resyncInterval = %s, error = %v", opts.resyncInterval, err)
	}
}

func TestAShareOfTheBudgetIsAtLeastOneRequest(t *testing.T) {
	for args, want := range map[string]float64{"--budget-share=0.5": 0.5, "--budget-share=0.01": 0.01, "--budget-share=1e-6 --opencx-rate-limit=1000000/1h": 1e-6} {
		opts, _, err := parse(strings.Fields(args)...)
		if err != nil || opts.budgetShare != want {
			t.Errorf("%s: budgetShare = %g, error = %v", args, opts.budgetShare, err)
		}
	}
}

func TestTheScopeIsRead(t *testing.T) {
	opts, _, err := parse("--watch-namespaces=shop,support", "--watch-label-selector=shard in (a,b)", "--default-api-key-secret=key")
	if err != nil || opts.scope.DefaultAPIKeySecret != "key" || fmt.Sprint(opts.scope.Namespaces) != "[shop support]" || opts.scope.Contacts.String() != "shard in (a,b)" {
		t.Errorf("scope = %v, error = %v", opts.scope, err)
	}
	opts, _, err = parse()
	if err != nil || opts.scope.DefaultAPIKeySecret != "opencx-api-key" || opts.scope.Namespaces != nil || opts.scope.Contacts != nil {
		t.Errorf("scope = %v, error = %v", opts.scope, err)
	}
}

func TestAnEndpointListensWhereItIsTold(t *testing.T) {
	for _, args := range []string{
		"--pprof-bind-address=0", "--pprof-bind-address=127.0.0.1:6060", "--pprof-bind-address=127.8.0.1:0", "--pprof-bind-address=[::1]:6060",
		"--pprof-bind-address=[::ffff:127.0.0.1]:6060", "--pprof-bind-address=localhost:6060",
		"--metrics-bind-address=0", "--metrics-bind-address=:0", "--metrics-bind-address=:65535", "--metrics-bind-address=[::]:8443",
		"--metrics-bind-address=10.0.0.1:8443 --metrics-secure=false", "--health-probe-bind-address=0", "--health-probe-bind-address=node.example.com:8081",
	} {
		opts, _, err := parse(strings.Fields(args)...)
		_, address, _ := strings.Cut(strings.Fields(args)[0], "=")
		if got := []string{opts.pprofAddress, opts.metricsAddress, opts.probeAddress}; err != nil || !slices.Contains(got, address) {
			t.Errorf("%s: addresses %q, error = %v", args, got, err)
		}
	}
}

func TestEventsArePostedWithinTheClusterOrOverHTTPS(t *testing.T) {
	for _, address := range []string{
		"http://notification-controller.flux-system.svc.cluster.local./", "http://notification-controller.flux-system.svc", "http://n.flux.svc.corp.example:9090/",
		"http://127.0.0.1:9090/", "http://[::1]:9090", "http://localhost:9090/", "https://events.example.com/flux",
	} {
		opts, _, err := parse("--events-addr=" + address)
		if err != nil || opts.eventsURL == nil || opts.eventsURL.String() != address {
			t.Errorf("%s: URL %s, error = %v", address, opts.eventsURL, err)
		}
	}
	if opts, _, err := parse(); err != nil || opts.eventsURL != nil {
		t.Errorf("without the flag: URL %s, error = %v", opts.eventsURL, err)
	}
}

func TestABadFlagIsRefusedInOneSentenceThatNamesIt(t *testing.T) {
	for args, want := range map[string]string{
		"--opencx-api-url=http://api.open.cx":              "--opencx-api-url: http would send the API key in the clear",
		"--opencx-api-url=api.open.cx":                     "--opencx-api-url: it names no host: use a URL with https:// and a host, like https://api.open.cx",
		"--opencx-rate-limit=0/1m":                         "--opencx-rate-limit: \"0/1m\" is not right: the part before the slash",
		"--opencx-rate-limit=abc/1m":                       "--opencx-rate-limit: \"abc/1m\" is not right: the part before the slash",
		"--opencx-rate-limit=100/8760h":                    "--opencx-rate-limit: \"100/8760h\" is not right: the part after the slash",
		"--budget-share=0":                                 "--budget-share: 0 is not more than 0 and at most 1: use 0.5 for each of two",
		"--budget-share=-0.5":                              "--budget-share: -0.5 is not more than 0 and at most 1",
		"--budget-share=1.01":                              "--budget-share: 1.01 is not more than 0 and at most 1",
		"--budget-share=NaN":                               "--budget-share: NaN is not more than 0 and at most 1",
		"--budget-share=50%":                               "--budget-share: \"50%\" is not right: use a number such as 0.5",
		"--resync-interval=1d":                             "--resync-interval: \"1d\" is not right: use a duration such as 90s, 30m or 24h",
		"--max-concurrent-reconciles=many":                 "--max-concurrent-reconciles: \"many\" is not right: use a whole number such as 10",
		"--leader-elect=maybe":                             "--leader-elect: \"maybe\" is not right: use true or false",
		"--budget-share=0.001":                             "--budget-share: 0.001 of 100/1m0s is no request: use a larger share, or a higher --opencx-rate-limit",
		"--default-organization=acme":                      "--default-organization: \"acme\" does not name an OpenCXOrganization: write namespace/name",
		"--default-organization=A/b":                       "--default-organization: \"A/b\" does not name an OpenCXOrganization: write namespace/name in lower case, such as crm/default",
		"--default-organization=a/b/c":                     "--default-organization",
		"--default-api-key-secret=":                        "--default-api-key-secret: \"\" is no name of a Secret: use one such as opencx-api-key",
		"--default-api-key-secret=a/b":                     "--default-api-key-secret: \"a/b\" is no name of a Secret",
		"--watch-namespaces=a,B":                           "--watch-namespaces: \"B\" is no name of a namespace",
		"--watch-namespaces=a,":                            "--watch-namespaces: \"\" is no name of a namespace: write names in lower case, separated by single commas, without spaces, such as shop,crm",
		"--watch-label-selector=a=(":                       "--watch-label-selector: ",
		"--resync-interval=-1h":                            "--resync-interval: -1h0m0s is negative",
		"--resync-interval=1s":                             "--resync-interval: 1s is shorter than 5m: use 5m or a longer duration such as 24h, or 0s for never",
		"--resync-interval=4m59.9s":                        "--resync-interval: 4m59.9s is shorter than 5m",
		"--max-concurrent-reconciles=0":                    "--max-concurrent-reconciles: 0 is not from 1 to 100",
		"--pprof-bind-address=:6060":                       "--pprof-bind-address: \":6060\" is not on loopback: use 127.0.0.1:6060 and kubectl port-forward, or 0 for none",
		"--pprof-bind-address=0.0.0.0:6060":                "--pprof-bind-address: \"0.0.0.0:6060\" is not on loopback",
		"--pprof-bind-address=[::]:6060":                   "--pprof-bind-address: \"[::]:6060\" is not on loopback",
		"--pprof-bind-address=10.0.0.1:6060":               "--pprof-bind-address: \"10.0.0.1:6060\" is not on loopback",
		"--pprof-bind-address=localhost.example.com:6060":  "--pprof-bind-address: \"localhost.example.com:6060\" is not on loopback",
		"--pprof-bind-address=127.0.0.1":                   "--pprof-bind-address: \"127.0.0.1\" is no address",
		"--pprof-bind-address=":                            "--pprof-bind-address: \"\" is no address",
		"--events-addr=notification-controller":            "--events-addr: it names no host: use a URL like http://notification-controller.flux-system.svc.cluster.local./",
		"--events-addr=:9090":                              "--events-addr: it is not a URL: use one like http://",
		"--events-addr=http://:80/":                        "--events-addr: it names no host",
		"--events-addr=ftp://a.b.svc/":                     "--events-addr: its scheme is \"ftp\": use http for a Service of this cluster",
		"--events-addr=http://hooks.example.com/":          "--events-addr: http to \"hooks.example.com\" could leave the cluster in the clear: name a Service as name.namespace.svc, or use https",
		"--events-addr=http://svc.example.com/":            "--events-addr: http to \"svc.example.com\" could leave the cluster",
		"--events-addr=http://192.0.2.1/":                  "--events-addr: http to \"192.0.2.1\" could leave the cluster",
		"--events-addr=https://user:secret@a.example.com/": "--events-addr: it must not have credentials, a query or a fragment",
		"--events-addr=http://a.b.svc/?token=secret":       "--events-addr: it must not have credentials",
		"--metrics-bind-address=":                          "--metrics-bind-address: \"\" is no address: write host:port or :port, with a port from 0 to 65535, or 0 for none",
		"--metrics-bind-address=8443":                      "--metrics-bind-address: \"8443\" is no address",
		"--metrics-bind-address=:65536":                    "--metrics-bind-address: \":65536\" is no address",
		"--metrics-bind-address=:https":                    "--metrics-bind-address: \":https\" is no address",
		"--metrics-bind-address=https://a:1":               "--metrics-bind-address: \"https://a:1\" is no address",
		"--health-probe-bind-address=::1:81":               "--health-probe-bind-address: \"::1:81\" is no address",
		"--health-probe-bind-address=:-1":                  "--health-probe-bind-address: \":-1\" is no address",
		"--zap-log-level=loud":                             "--zap-log-level: \"loud\" is not right: use debug, info, error, panic or a number above 0",
		"--zap-encoder=xml":                                "--zap-encoder: \"xml\" is not right: use json or console",
		"--zap-stacktrace-level=debug":                     "--zap-stacktrace-level: \"debug\" is not right: use info, error or panic",
		"--zap-time-encoding=s":                            "--zap-time-encoding: \"s\" is not right: use epoch, millis,",
		"--no-such-flag":                                   "not defined: -no-such-flag; --help lists the flags",
		"extra":                                            "unexpected argument \"extra\"",
	} {
		_, help, err := parse(args)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || help != "" {
			t.Errorf("%s: error = %v, printed %q, want one sentence with %q", args, err, help, want)
		}
	}
}

func TestANamespaceOfTheOperatorThatIsNoneIsBlamed(t *testing.T) {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	_, err := parseFlags(flags, nil, "Bad", io.Discard)
	if want := `the environment variable POD_NAMESPACE: "Bad" is no name of a namespace: `; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error = %v, want %s…", err, want)
	}
}

func TestHelpGivesUnitsAndDefaults(t *testing.T) {
	_, help, err := parse("--help")
	if !errors.Is(err, flag.ErrHelp) {
		t.Errorf("error = %v, want flag.ErrHelp", err)
	}
	for _, want := range []string{"default \"opencx-system/default\"", "-opencx-rate-limit requests/window", "default 100/1m0s", "default 24h0m0s", "default \"https://api.open.cx\"", "in the clear to whoever reaches the address", "loopback address of the profiling endpoint"} {
		if !strings.Contains(help, want) {
			t.Errorf("help lacks %q:\n%s", want, help)
		}
	}
}
