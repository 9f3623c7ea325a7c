package opencx

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// exchange is a request that arrived at a server of HTTP/1.1, which has read its
// header.
type exchange struct {
	*http.Request
	connection *net.TCPConn
	giveUp     context.CancelFunc // has the caller end its call
}

func (x exchange) end() { _ = x.connection.Close() }

func (x exchange) reset() { reset(x.connection) }

func (x exchange) say(text string) { _, _ = io.WriteString(x.connection, text) }

func (x exchange) read(n int64) { _, _ = io.CopyN(io.Discard, x.Body, n) }

func (x exchange) answer(status int) {
	_, _ = io.Copy(io.Discard, x.Body)
	x.say(http1Answer(status))
}

const interim = "HTTP/1.1 100 Continue\r\n\r\n"

// http1Answer is an answer, after which the connection ends if it is an error.
func http1Answer(status int) string {
	connection := "keep-alive"
	if status != http.StatusOK {
		connection = "close"
	}
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nConnection: %s\r\nContent-Length: 2\r\n\r\n{}", status, http.StatusText(status), connection)
}

// serveHTTP1 answers every request with 200, except the one with the number faulty,
// counted from 0, which goes to fault.
func serveHTTP1(t *testing.T, faulty int32, giveUp context.CancelFunc, fault func(exchange)) *wireServer {
	return serveTCP(t, func(s *wireServer, connection *net.TCPConn) {
		reader := bufio.NewReader(connection)
		for {
			request, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			x := exchange{request, connection, giveUp}
			if s.requests.Add(1)-1 == faulty {
				fault(x)
			} else {
				x.answer(http.StatusOK)
			}
		}
	})
}

// http1Faults are what goes wrong with a request, and how its call ends on a kept
// connection. On a new one, idle is false. keeps says that it can be used again.
var http1Faults = map[string]struct {
	body  int
	fault func(exchange)
	want  outcome
	keeps bool
}{
	"a reset before the body":       {largeBody, exchange.reset, lost, false},
	"a reset in the middle of it":   {largeBody, func(x exchange) { x.read(largeBody / 2); x.reset() }, lost, false},
	"a reset after the body":        {largeBody, func(x exchange) { x.read(x.ContentLength); x.reset() }, lost, false},
	"a reset of a small request":    {smallBody, exchange.reset, lost, false},
	"an end before the body":        {largeBody, exchange.end, lost, false},
	"an end in the middle of it":    {largeBody, func(x exchange) { x.read(largeBody / 2); x.end() }, lost, false},
	"an end after the body":         {largeBody, func(x exchange) { x.read(x.ContentLength); x.end() }, lost, false},
	"an end after a small request":  {smallBody, func(x exchange) { x.read(x.ContentLength); x.end() }, lost, false},
	"an end after a byte of answer": {smallBody, func(x exchange) { x.read(x.ContentLength); x.say("H"); x.end() }, refused, false},
	"an end after 100 Continue":     {smallBody, func(x exchange) { x.read(x.ContentLength); x.say(interim); x.end() }, refused, false},
	"the caller gives up":           {smallBody, func(x exchange) { x.read(x.ContentLength); x.giveUp() }, refused, false},
	"100 Continue unasked":          {smallBody, func(x exchange) { x.say(interim); x.answer(200) }, outcome{answer: 200}, true},
	"100 Continue before 200 kB":    {largeBody, func(x exchange) { x.say(interim); x.answer(200) }, outcome{answer: 200}, true},
	"100 Continue after the body":   {smallBody, func(x exchange) { x.read(x.ContentLength); x.say(interim); x.answer(200) }, outcome{answer: 200}, true},
	"417 Expectation Failed":        {smallBody, func(x exchange) { x.answer(417) }, outcome{answer: 417}, false},
	"421 Misdirected Request":       {smallBody, func(x exchange) { x.answer(421) }, outcome{answer: 421}, false},
	"421 before the body is read":   {largeBody, func(x exchange) { x.say(http1Answer(421)); x.read(x.ContentLength) }, outcome{answer: 421}, false},
	"408 Request Timeout":           {smallBody, func(x exchange) { x.answer(408) }, outcome{answer: 408}, false},
	"408 before the body is read":   {largeBody, func(x exchange) { x.say(http1Answer(408)); x.read(x.ContentLength) }, outcome{answer: 408}, false},
}

func TestHTTP1FaultsCostOneRequest(t *testing.T) {
	for name, tt := range http1Faults {
		for connection, before := range map[string]int32{"a new connection": 0, "a kept connection": 1} {
			t.Run(name+" on "+connection, func(t *testing.T) {
				ctx, giveUp := context.WithCancel(t.Context())
				defer giveUp()
				s := serveHTTP1(t, before, giveUp, tt.fault)
				client, _ := wireClient(t, s)
				for range before {
					s.call(ctx, t, client, sized(tt.body), outcome{answer: 200})
				}

				want := tt.want
				want.idle = want.idle && before > 0
				s.call(ctx, t, client, sized(tt.body), want)
				s.call(t.Context(), t, client, sized(tt.body), outcome{answer: 200})
				if kept := s.connections.Load() == 1; kept != tt.keeps {
					t.Errorf("%d connections; want one alone: %t", s.connections.Load(), tt.keeps)
				}
			})
		}
	}
}

func TestNoRequestAsksForAnExpectation(t *testing.T) {
	client := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		if expect := r.Header.Get("Expect"); expect != "" {
			t.Errorf("Expect: %s", expect)
		}
	})
	if err := client.UpdateContact(t.Context(), testKey(t), testID, sized(largeBody).Payload()); err != nil {
		t.Error(err)
	}
}

// endings are how a server of HTTP/1.1 ends a connection that it has no use for.
var endings = map[string]func(*net.TCPConn){
	"closed": func(connection *net.TCPConn) { _ = connection.Close() },
	"reset":  reset,
	"408": func(connection *net.TCPConn) {
		_, _ = io.WriteString(connection, http1Answer(408))
		_ = connection.Close()
	},
}

// serveOnce answers the first request, and ends its connection with end as soon as
// the channel that it returns is closed. It serves other connections as usual.
func serveOnce(t *testing.T, end func(*net.TCPConn)) (*wireServer, chan<- struct{}) {
	now := make(chan struct{})
	return serveTCP(t, func(s *wireServer, connection *net.TCPConn) {
		first := s.connections.Load() == 1
		reader := bufio.NewReader(connection)
		for {
			request, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			s.requests.Add(1)
			exchange{request, connection, nil}.answer(http.StatusOK)
			if first {
				<-now
				end(connection)
				return
			}
		}
	}), now
}

func TestAConnectionThatTheServerEndedIsNotUsed(t *testing.T) {
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			s, now := serveOnce(t, end)
			client, links := wireClient(t, s)
			s.call(t.Context(), t, client, sized(smallBody), outcome{answer: 200})
			close(now)
			<-(<-links).closed
			s.call(t.Context(), t, client, sized(smallBody), outcome{answer: 200})
		})
	}
}

// The server ended the connection, but that arrives when the next request has gone.
func TestARequestThatMeetsTheEndOfItsConnectionIsNotRepeated(t *testing.T) {
	for name, tt := range map[string]struct {
		end  string
		body int
		want outcome
	}{
		"closed":                        {"closed", smallBody, lost},
		"closed, with a body of 200 kB": {"closed", largeBody, lost},
		"reset":                         {"reset", smallBody, lost},
		"reset, with a body of 200 kB":  {"reset", largeBody, lost},
		// Nobody can tell which request it is for.
		"408": {"408", smallBody, outcome{answer: 408}},
	} {
		t.Run(name, func(t *testing.T) {
			s, now := serveOnce(t, endings[tt.end])
			client, links := wireClient(t, s)
			s.call(t.Context(), t, client, sized(tt.body), outcome{answer: 200})
			first := <-links
			first.late.Store(true)
			close(now)
			<-first.arrived

			err := client.UpdateContact(t.Context(), testKey(t), testID, sized(tt.body).Payload())
			if got := outcomeOf(err); got != tt.want || s.requests.Load() != 1 {
				t.Errorf("outcome = %+v, want %+v; error: %v; %d requests arrived, want 1", got, tt.want, err, s.requests.Load())
			}
			s.call(t.Context(), t, client, sized(tt.body), outcome{answer: 200})
		})
	}
}

// Of two kept connections that are both dead, one call pays.
func TestTheCallAfterALostConnectionOpensItsOwn(t *testing.T) {
	both, now := make(chan struct{}), make(chan struct{})
	s := serveTCP(t, func(s *wireServer, connection *net.TCPConn) {
		reader := bufio.NewReader(connection)
		for {
			request, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			switch s.requests.Add(1) {
			case 1:
				<-both
			case 2:
				close(both)
			default:
				exchange{request, connection, nil}.answer(http.StatusOK)
				continue
			}
			exchange{request, connection, nil}.answer(http.StatusOK)
			<-now
			return
		}
	})
	client, links := wireClient(t, s)
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() {
			if err := client.UpdateContact(t.Context(), testKey(t), testID, sized(smallBody).Payload()); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	one, other := <-links, <-links
	one.late.Store(true)
	other.late.Store(true)
	close(now)
	<-one.arrived
	<-other.arrived

	if got := outcomeOf(client.UpdateContact(t.Context(), testKey(t), testID, sized(smallBody).Payload())); got != lost {
		t.Errorf("outcome = %+v, want %+v", got, lost)
	}
	s.call(t.Context(), t, client, sized(smallBody), outcome{answer: 200})
}

// After another protocol was agreed on, nothing of net/http ends the connection.
func TestAnotherProtocolIsNotWaitedFor(t *testing.T) {
	s := serveTCP(t, func(s *wireServer, connection *net.TCPConn) {
		_, _ = http.ReadRequest(bufio.NewReader(connection))
		s.requests.Add(1)
		_, _ = io.WriteString(connection, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
		_, _ = io.Copy(io.Discard, connection) // until the client has closed it
	})
	client, links := wireClient(t, s)
	s.call(t.Context(), t, client, sized(smallBody), outcome{answer: 101})
	<-(<-links).closed
}
