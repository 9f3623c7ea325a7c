package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// endpointFlags are those of what the operator listens on, and of whom it tells.
func (o *options) endpointFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", "0",
		"`address` of the metrics endpoint, such as :8443; 0 is none")
	flags.BoolVar(&o.metricsSecure, "metrics-secure", true,
		"serve metrics over https, to clients that Kubernetes authenticates and authorizes only; when false, in the clear to whoever reaches the address, also one that is not loopback: for a service mesh that does both instead")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081",
		"`address` of /healthz and /readyz; 0 is none")
	flags.StringVar(&o.pprofAddress, "pprof-bind-address", "0",
		"loopback `address` of the profiling endpoint, such as 127.0.0.1:6060; 0 is none")
	flags.StringVar(&o.eventsAddress, "events-addr", "",
		"`URL` of Flux's notification-controller, to which events are posted, such as "+notificationController+"; when empty, they are posted nowhere")
}

// notificationController is where Flux has it.
const notificationController = "http://notification-controller.flux-system.svc.cluster.local./"

// checkAddresses looks at what the operator listens on, and whom it tells.
func (o *options) checkAddresses() error {
	for _, endpoint := range []struct{ flag, address string }{
		{"metrics-bind-address", o.metricsAddress},
		{"health-probe-bind-address", o.probeAddress},
	} {
		if _, err := hostOf(endpoint.address); err != nil {
			return fmt.Errorf("--%s: %w", endpoint.flag, err)
		}
	}
	host, err := hostOf(o.pprofAddress)
	if err != nil {
		return fmt.Errorf("--pprof-bind-address: %w", err)
	}
	// A profile shows anybody what is in memory, and asks nobody who they are.
	if o.pprofAddress != noAddress && !isLoopback(host) {
		return fmt.Errorf("--pprof-bind-address: %q is not on loopback: use 127.0.0.1:6060 and kubectl port-forward, or 0 for none", o.pprofAddress)
	}
	if o.eventsURL, err = parseEventsAddress(o.eventsAddress); err != nil {
		return fmt.Errorf("--events-addr: %w", err)
	}
	return nil
}

// parseEventsAddress reads a URL to post events to; "" is none. Events hold no secret, but
// they name objects: in the clear they go to Services of the cluster alone, as those of
// Flux's own controllers do.
func parseEventsAddress(address string) (*url.URL, error) {
	if address == "" {
		return nil, nil
	}
	u, err := url.Parse(address)
	switch {
	case err != nil: // which quotes the address, and that may hold a password
		return nil, errors.New("it is not a URL: use one like " + notificationController)
	case u.Hostname() == "":
		return nil, errors.New("it names no host: use a URL like " + notificationController)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("it must not have credentials, a query or a fragment: notification-controller asks for none")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("its scheme is %q: use http for a Service of this cluster, like %s, and https otherwise", u.Scheme, notificationController)
	case u.Scheme == "http" && !isLoopback(u.Hostname()) && !isService(u.Hostname()):
		return nil, fmt.Errorf("http to %q could leave the cluster in the clear: name a Service as name.namespace.svc, or use https", u.Hostname())
	}
	return u, nil
}

// isService says whether a host is named like a Service, as name.namespace.svc, with or
// without the domain of the cluster behind it.
func isService(host string) bool {
	labels := strings.Split(host, ".")
	return len(labels) > 2 && labels[2] == "svc" && !slices.Contains(labels[:2], "")
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// noAddress is the address of an endpoint that is not wanted.
const noAddress = "0"

// hostOf returns the host of host:port, which is "" in :port and of noAddress.
func hostOf(address string) (string, error) {
	if address == noAddress {
		return "", nil
	}
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || strings.ContainsAny(host, " \t/") {
		return "", fmt.Errorf("%q is no address: write host:port or :port, with a port from 0 to 65535, or 0 for none", address)
	}
	return host, nil
}
