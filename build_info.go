package main

import (
	"cmp"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// newBuildInfo is a metric that tells which operator this is.
func newBuildInfo() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "opencx_operator_build_info",
		Help:        "1, with the version, the commit and Go's version that the operator was built of and with.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision(debug.ReadBuildInfo()), "go_version": runtime.Version()},
	}, func() float64 { return 1 })
}

// revision is the commit that Go has seen when it built, as it does not in an image.
func revision(build *debug.BuildInfo, ok bool) string {
	found := ""
	if ok {
		for _, setting := range build.Settings {
			if setting.Key == "vcs.revision" {
				found = setting.Value
			}
		}
	}
	return cmp.Or(found, "unknown")
}
