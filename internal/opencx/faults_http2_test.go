package opencx

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// moment is how much of a request a server of HTTP/2 has read.
type moment int

const (
	header moment = iota // and nothing of the body
	middle               // some of the body; the client waits to be told to go on
	whole
)

// stream is a request that arrived at a server of HTTP/2.
type stream struct {
	*http2.Framer
	id         uint32
	connection *net.TCPConn
	giveUp     context.CancelFunc // has the caller end its call
}

func (s stream) refuse(code http2.ErrCode) { _ = s.WriteRSTStream(s.id, code) }

// leave says that no request after last will be looked at.
func (s stream) leave(last uint32, code http2.ErrCode) { _ = s.WriteGoAway(last, code, nil) }

func (s stream) reset() { reset(s.connection) }

func (s stream) end() { _ = s.connection.Close() }

// status sends the header of an answer.
func (s stream) status(status int) {
	var block bytes.Buffer
	_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)})
	_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: block.Bytes(), EndHeaders: true})
}

// answer answers with a body, so that the client waits for its end.
func (s stream) answer(status int) {
	s.status(status)
	_ = s.WriteData(s.id, true, []byte("{}"))
}

// http2Server answers every request with 200 when it has it whole, except the one
// with the number faulty, counted from 0: when it has read so much of that as at
// says, that goes to fault.
type http2Server struct {
	faulty int32
	at     moment
	fault  func(stream)
	giveUp context.CancelFunc
}

func (h http2Server) serve(s *wireServer, connection *tls.Conn) {
	number, failed := int32(-1), false
	readHTTP2(connection, func(r stream, read moment, bytes uint32) {
		r.giveUp = h.giveUp
		if read == header {
			number = s.requests.Add(1) - 1
		}
		switch {
		case number != h.faulty, read < h.at:
			r.serve(read, bytes)
		case read == h.at && !failed:
			failed = true
			h.fault(r)
		}
	})
}

// serve lets the body come, and answers when it is there.
func (s stream) serve(read moment, bytes uint32) {
	switch read {
	case middle:
		_ = s.WriteWindowUpdate(s.id, bytes)
	case whole:
		s.answer(http.StatusOK)
	}
}

// readHTTP2 calls read for every part of a request, and how many bytes of the body
// it has, until the connection ends.
func readHTTP2(connection *tls.Conn, read func(stream, moment, uint32)) {
	_, _ = io.CopyN(io.Discard, connection, int64(len(http2.ClientPreface)))
	framer := http2.NewFramer(connection, connection)
	_ = framer.WriteSettings()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		s := stream{Framer: framer, id: frame.Header().StreamID, connection: connection.NetConn().(*net.TCPConn)}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.HeadersFrame:
			read(s, header, 0)
		case *http2.DataFrame:
			at := middle
			if frame.StreamEnded() {
				at = whole
			}
			_ = framer.WriteWindowUpdate(0, max(1, frame.Length)) // for the other requests
			read(s, at, frame.Length)
		}
	}
}

// http2Faults are what goes wrong with a request, and how its call ends on a kept
// connection. On a new one, idle is false. keeps says that it can be used again.
var http2Faults = map[string]struct {
	body  int
	at    moment
	fault func(stream)
	want  outcome
	keeps bool
}{
	"REFUSED_STREAM before the body":       {largeBody, header, func(s stream) { s.refuse(http2.ErrCodeRefusedStream) }, lost, false},
	"REFUSED_STREAM in the middle of it":   {largeBody, middle, func(s stream) { s.refuse(http2.ErrCodeRefusedStream) }, lost, false},
	"REFUSED_STREAM after the body":        {largeBody, whole, func(s stream) { s.refuse(http2.ErrCodeRefusedStream) }, lost, false},
	"REFUSED_STREAM for a small request":   {smallBody, whole, func(s stream) { s.refuse(http2.ErrCodeRefusedStream) }, lost, false},
	"PROTOCOL_ERROR before the body":       {largeBody, header, func(s stream) { s.refuse(http2.ErrCodeProtocol) }, lost, false},
	"PROTOCOL_ERROR in the middle of it":   {largeBody, middle, func(s stream) { s.refuse(http2.ErrCodeProtocol) }, lost, false},
	"PROTOCOL_ERROR after the body":        {largeBody, whole, func(s stream) { s.refuse(http2.ErrCodeProtocol) }, lost, false},
	"PROTOCOL_ERROR for a small request":   {smallBody, whole, func(s stream) { s.refuse(http2.ErrCodeProtocol) }, lost, false},
	"INTERNAL_ERROR before the body":       {largeBody, header, func(s stream) { s.refuse(http2.ErrCodeInternal) }, refused, false},
	"CANCEL in the middle of it":           {largeBody, middle, func(s stream) { s.refuse(http2.ErrCodeCancel) }, refused, false},
	"ENHANCE_YOUR_CALM after the body":     {smallBody, whole, func(s stream) { s.refuse(http2.ErrCodeEnhanceYourCalm) }, refused, false},
	"HTTP_1_1_REQUIRED":                    {smallBody, header, func(s stream) { s.refuse(http2.ErrCodeHTTP11Required) }, refused, false},
	"GOAWAY before the body":               {largeBody, header, func(s stream) { s.leave(s.id-1, http2.ErrCodeNo) }, lost, false},
	"GOAWAY in the middle of it":           {largeBody, middle, func(s stream) { s.leave(s.id-1, http2.ErrCodeNo) }, lost, false},
	"GOAWAY after the body":                {largeBody, whole, func(s stream) { s.leave(s.id-1, http2.ErrCodeNo) }, lost, false},
	"GOAWAY after a small request":         {smallBody, whole, func(s stream) { s.leave(s.id-1, http2.ErrCodeNo) }, lost, false},
	"GOAWAY with an error":                 {smallBody, whole, func(s stream) { s.leave(s.id-1, http2.ErrCodeEnhanceYourCalm) }, lost, false},
	"GOAWAY for the requests to come":      {smallBody, whole, func(s stream) { s.leave(s.id, http2.ErrCodeNo); s.answer(200) }, outcome{answer: 200}, false},
	"GOAWAY and no answer after all":       {smallBody, whole, func(s stream) { s.leave(s.id, http2.ErrCodeNo); s.end() }, lost, false},
	"a TCP reset before the body":          {largeBody, header, stream.reset, lost, false},
	"a TCP reset in the middle of it":      {largeBody, middle, stream.reset, lost, false},
	"a TCP reset after the body":           {largeBody, whole, stream.reset, lost, false},
	"a TCP reset of a small request":       {smallBody, whole, stream.reset, lost, false},
	"an end after the body":                {smallBody, whole, stream.end, lost, false},
	"the caller gives up":                  {smallBody, whole, func(s stream) { s.giveUp() }, refused, true},
	"100 Continue and then an end":         {smallBody, whole, func(s stream) { s.status(100); s.end() }, refused, false},
	"100 Continue unasked":                 {smallBody, whole, func(s stream) { s.status(100); s.answer(200) }, outcome{answer: 200}, true},
	"421 Misdirected Request":              {smallBody, whole, func(s stream) { s.answer(421) }, outcome{answer: 421}, true},
	"421 before the body":                  {largeBody, header, func(s stream) { s.answer(421) }, outcome{answer: 421}, true},
	"408 Request Timeout":                  {smallBody, whole, func(s stream) { s.answer(408) }, outcome{answer: 408}, true},
	"200 before the body, which is unread": {largeBody, header, func(s stream) { s.answer(200); s.refuse(http2.ErrCodeNo) }, outcome{answer: 200}, true},
}

func TestHTTP2FaultsCostOneRequest(t *testing.T) {
	for name, tt := range http2Faults {
		for connection, before := range map[string]int32{"a new connection": 0, "a kept connection": 1} {
			t.Run(name+" on "+connection, func(t *testing.T) {
				ctx, giveUp := context.WithCancel(t.Context())
				defer giveUp()
				s, trust := serveHTTP2(t, http2Server{faulty: before, at: tt.at, fault: tt.fault, giveUp: giveUp}.serve)
				client, _ := wireClient(t, s, trust)
				for range before {
					s.call(ctx, t, client, sized(tt.body), outcome{answer: 200})
				}

				want := tt.want
				want.idle = want.idle && before > 0
				s.call(ctx, t, client, sized(tt.body), want)
				s.call(t.Context(), t, client, sized(tt.body), outcome{answer: 200})
				// Of one that was given up the reset may still be under way.
				if kept := s.connections.Load() == 1; kept != tt.keeps && name != "the caller gives up" {
					t.Errorf("%d connections; want one alone: %t", s.connections.Load(), tt.keeps)
				}
			})
		}
	}
}

// http2Endings are how a server of HTTP/2 ends a connection that it has no use for.
var http2Endings = map[string]func(stream){
	"GOAWAY and an end": func(s stream) { s.leave(s.id, http2.ErrCodeNo); s.end() },
	"an end":            stream.end,
	"a TCP reset":       stream.reset,
}

// serveHTTP2Once answers the first request, and ends its connection with end as soon
// as the channel that it returns is closed. It serves other connections as usual.
func serveHTTP2Once(t *testing.T, end func(stream)) (*wireServer, *tls.Config, chan<- struct{}) {
	now := make(chan struct{})
	s, trust := serveHTTP2(t, func(s *wireServer, connection *tls.Conn) {
		first := s.connections.Load() == 1
		readHTTP2(connection, func(r stream, read moment, bytes uint32) {
			if read == header {
				s.requests.Add(1)
			}
			r.serve(read, bytes)
			if first && read == whole {
				<-now
				end(r)
			}
		})
	})
	return s, trust, now
}

func TestAnHTTP2ConnectionThatTheServerEndedIsNotUsed(t *testing.T) {
	for name, end := range http2Endings {
		t.Run(name, func(t *testing.T) {
			s, trust, now := serveHTTP2Once(t, end)
			client, links := wireClient(t, s, trust)
			s.call(t.Context(), t, client, sized(smallBody), outcome{answer: 200})
			close(now)
			<-(<-links).closed
			s.call(t.Context(), t, client, sized(smallBody), outcome{answer: 200})
		})
	}
}

// The server ended the connection, but that arrives when the next request has gone.
func TestAnHTTP2RequestThatMeetsTheEndOfItsConnectionIsNotRepeated(t *testing.T) {
	for _, name := range []string{"GOAWAY and an end", "an end", "a TCP reset"} {
		for _, body := range []int{smallBody, largeBody} {
			t.Run(fmt.Sprintf("%s, with a body of %d bytes", name, body), func(t *testing.T) {
				s, trust, now := serveHTTP2Once(t, http2Endings[name])
				client, links := wireClient(t, s, trust)
				s.call(t.Context(), t, client, sized(body), outcome{answer: 200})
				first := <-links
				first.late.Store(true)
				close(now)
				<-first.arrived

				err := client.UpdateContact(t.Context(), testKey(t), testID, sized(body).Payload())
				if got := outcomeOf(err); got != lost || s.requests.Load() != 1 {
					t.Errorf("outcome = %+v, want %+v; error: %v; %d requests arrived, want 1", got, lost, err, s.requests.Load())
				}
				s.call(t.Context(), t, client, sized(body), outcome{answer: 200})
			})
		}
	}
}

// The connection stays open: GOAWAY alone says that it is of no use.
func TestNoRequestFollowsGoAway(t *testing.T) {
	seen := make(chan struct{})
	s, trust, now := serveHTTP2Once(t, func(s stream) {
		s.leave(s.id, http2.ErrCodeNo)
		_ = s.WritePing(false, [8]byte{})
		for {
			frame, err := s.ReadFrame()
			if err != nil {
				t.Error(err)
				break
			}
			if _, is := frame.(*http2.PingFrame); is { // the client has read what came before
				break
			}
		}
		close(seen)
	})
	client, _ := wireClient(t, s, trust)
	s.call(t.Context(), t, client, sized(smallBody), outcome{answer: 200})
	close(now)
	<-seen
	s.call(t.Context(), t, client, sized(smallBody), outcome{answer: 200})
	if n := s.connections.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}
