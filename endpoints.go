package main

import (
	"flag"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// endpointFlags are those of what the operator listens on.
func (o *options) endpointFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", "0",
		"`address` of the metrics endpoint, such as :8443; 0 is none")
	flags.BoolVar(&o.metricsSecure, "metrics-secure", true,
		"serve metrics over https, to clients that Kubernetes authenticates and authorizes only; when false, in the clear to whoever reaches the address, also one that is not loopback: for a service mesh that does both instead")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081",
		"`address` of /healthz and /readyz; 0 is none")
	flags.StringVar(&o.pprofAddress, "pprof-bind-address", "0",
		"loopback `address` of the profiling endpoint, such as 127.0.0.1:6060; 0 is none")
}

// checkAddresses looks at what the operator listens on.
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
	if ip, err := netip.ParseAddr(host); o.pprofAddress != noAddress && host != "localhost" && (err != nil || !ip.Unmap().IsLoopback()) {
		return fmt.Errorf("--pprof-bind-address: %q is not on loopback: use 127.0.0.1:6060 and kubectl port-forward, or 0 for none", o.pprofAddress)
	}
	return nil
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
