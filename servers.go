package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	certutil "k8s.io/client-go/util/cert"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

const (
	// maxConnections and maxFromOne bound the connections that an endpoint has at one
	// time, of all and of one address: whoever can reach it needs no token to open them.
	// The kubelet and a scraper need one each.
	maxConnections, maxFromOne = 100, 20
	// maxHeader is room for a token of maxToken and as much besides.
	maxHeader = 2 * maxToken
	// Whoever is slower than these is in nobody's cluster.
	headerTimeout, answerTimeout = 5 * time.Second, 30 * time.Second
)

// bindFlags are those that name the addresses of servers.
var bindFlags = map[string]string{"probes": "health-probe-bind-address", "metrics": "metrics-bind-address"}

// newServer returns a server of handler that listens already, so that it is known at the
// start if it cannot. It is bounded in what strangers can make it keep, which
// controller-runtime's own servers are not: a megabyte of header for each of any number
// of connections. config is nil for one in the clear.
func newServer(ctx context.Context, name, address string, handler http.Handler, config *tls.Config) (*manager.Server, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for %s: %w: name a free address with --%s, or 0 for none", name, err, bindFlags[name])
	}
	listener = &bounded{Listener: listener, from: map[string][]*counted{}}
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	return &manager.Server{
		Name: name, Listener: listener, ShutdownTimeout: new(headerTimeout),
		Server: &http.Server{
			Handler: handler, MaxHeaderBytes: maxHeader,
			ErrorLog:          log.New(panics(name), "", 0),
			ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, WriteTimeout: answerTimeout, IdleTimeout: 90 * time.Second,
		},
	}, nil
}

// panics logs of what a server would log the panics of its handler alone: of connections
// that are no TLS a stranger can make thousands in a second.
// Its text is the name of the server.
type panics string

// Write implements io.Writer. Each line of a log is one call.
func (p panics) Write(line []byte) (int, error) {
	if bytes.HasPrefix(line, []byte("http: panic serving")) {
		ctrl.Log.WithName(string(p)).Error(nil, string(line))
	}
	return len(line), nil
}

// selfSigned is a certificate for this process alone: clients know the operator by its
// address.
func selfSigned() (tls.Certificate, error) {
	certificate, key, err := certutil.GenerateSelfSignedCertKeyWithOptions(certutil.SelfSignedCertKeyOptions{
		Host:         "localhost",
		AlternateIPs: []net.IP{net.IPv4(127, 0, 0, 1)},
		MaxAge:       10 * 365 * 24 * time.Hour, // longer than a process runs: nothing renews it
	})
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	return tls.X509KeyPair(certificate, key)
}

// bounded is a listener that closes connections at once that are too many.
type bounded struct {
	net.Listener
	mu   sync.Mutex
	all  int
	from map[string][]*counted // the oldest first
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		connection, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host, _, _ := net.SplitHostPort(connection.RemoteAddr().String()) // which the kernel has from the wire
		c := &counted{Conn: connection}
		c.leave = sync.OnceFunc(func() { b.remove(host, c) })
		added, instead := b.add(host, c)
		if instead != nil {
			_ = instead.Close()
		}
		if added {
			return c, nil
		}
		_ = connection.Close()
	}
}

// add counts a connection, unless it is too many of its address. When there are too many
// of all, it is instead of the oldest of the address that has most: strangers of many
// addresses must not keep out the kubelet, which would restart the Pod.
func (b *bounded) add(host string, c *counted) (added bool, instead *counted) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.from[host]) >= maxFromOne {
		return false, nil
	}
	if b.all >= maxConnections {
		most := host
		for other, connections := range b.from {
			if len(connections) > len(b.from[most]) {
				most = other
			}
		}
		if most == host {
			return false, nil
		}
		instead = b.from[most][0]
	}
	b.all++
	b.from[host] = append(b.from[host], c)
	return true, instead
}

func (b *bounded) remove(host string, c *counted) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all--
	b.from[host] = slices.DeleteFunc(b.from[host], func(other *counted) bool { return other == c })
	if len(b.from[host]) == 0 {
		delete(b.from, host)
	}
}

// counted is a connection that counts until it is closed.
type counted struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}
