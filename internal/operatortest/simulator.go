package operatortest

import (
	"net/http/httptest"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

// Simulator is a simulated OpenCX that listens on a loopback address.
type Simulator struct {
	*opencxtest.Server
	// URL is what the operator's --opencx-api-url takes.
	URL string

	listening *httptest.Server
}

// StartSimulator starts one.
func StartSimulator(options opencxtest.Options) *Simulator {
	simulator := opencxtest.New(options)
	listening := simulator.StartHTTP()
	return &Simulator{Server: simulator, URL: listening.URL + options.BasePath, listening: listening}
}

// Close stops it after the requests that it is answering.
func (s *Simulator) Close() { s.listening.Close() }
