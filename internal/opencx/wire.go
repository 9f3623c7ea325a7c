package opencx

import (
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"sync/atomic"
)

// wire is what was seen of one request on its way. The transport may still report
// to it when the request has ended.
type wire struct {
	connected atomic.Bool // there was a connection to send it on
	wasIdle   atomic.Bool // and nothing was under way on that before
	answered  atomic.Bool // the first byte of an answer came
}

// watch returns a context whose request reports to w.
func (w *wire) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// It comes again when a connection turned out to be closed before anything
		// was sent on it.
		GetConn: func(string) {
			w.connected.Store(false)
			w.wasIdle.Store(false)
		},
		// Reused does not matter: a connection may have been opened in advance, and
		// kept without any use.
		GotConn: func(info httptrace.GotConnInfo) {
			w.connected.Store(true)
			w.wasIdle.Store(info.WasIdle)
		},
		GotFirstResponseByte: func() { w.answered.Store(true) },
	})
}

// lostIdle says that err is how a request ends on a connection that the server gave
// up meanwhile.
func (w *wire) lostIdle(err error) bool {
	return w.wasIdle.Load() && !w.answered.Load() && !gaveUp(err)
}

// gaveUp says that it was this side that ended the request.
func gaveUp(err error) bool {
	timeout, is := errors.AsType[net.Error](err)
	return errors.Is(err, context.Canceled) || is && timeout.Timeout()
}
