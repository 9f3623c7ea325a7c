// The kinds of the Prometheus operator, which test/monitoring installs.
module github.com/opencx-labs/opencx-operator/hack/monitoring

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
