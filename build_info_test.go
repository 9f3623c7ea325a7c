package main

import (
	"runtime/debug"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestBuildInfoTellsWhichOperatorThisIs(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newBuildInfo())
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("%d families, error %v", len(families), err)
	}
	labels := map[string]string{}
	for _, label := range families[0].Metric[0].Label {
		labels[label.GetName()] = label.GetValue()
	}
	if got := families[0].Metric[0].Gauge.GetValue(); got != 1 {
		t.Errorf("it is %v", got)
	}
	if labels["version"] != version || labels["go_version"] == "" || labels["revision"] == "" || len(labels) != 3 {
		t.Errorf("its labels are %q", labels)
	}
}

func TestRevisionIsTheCommitOrUnknown(t *testing.T) {
	seen := &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "f861201"}}}
	if got := revision(seen, true); got != "f861201" {
		t.Errorf("with a commit: %q", got)
	}
	if got := revision(&debug.BuildInfo{}, true); got != "unknown" {
		t.Errorf("without a commit: %q", got)
	}
	if got := revision(nil, false); got != "unknown" {
		t.Errorf("without information: %q", got)
	}
}
