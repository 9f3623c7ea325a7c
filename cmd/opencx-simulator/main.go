// Opencx-simulator serves a simulated OpenCX API, for whoever wants to try the
// operator, or another client, without a key: go run ./cmd/opencx-simulator --help
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

const usage = `A simulator of the OpenCX API: PATCH /contacts/ID and GET /contacts. It refuses
what the schema of "Update a contact" refuses, holds its clients to the rate
limit over a trailing window, and shows what it received on a page at / and as JSON at /_sim/journal and /_sim/contacts.

With --at it steers one that is running:

  opencx-simulator --at=http://127.0.0.1:8085 --inject='{"next":1,"status":500}'
  opencx-simulator --at=http://127.0.0.1:8085 --inject='{"contact":"ID","status":429,"headers":{"Retry-After":"10"}}'
  opencx-simulator --at=http://127.0.0.1:8085 --inject='{"next":1,"break":"reset"}'
  opencx-simulator --at=http://127.0.0.1:8085 --inject='{"list":1,"status":503}'
  opencx-simulator --at=http://127.0.0.1:8085 --clear
  opencx-simulator --at=http://127.0.0.1:8085 --edit=ID --to='{"name":"Jane","phone":null}'

A fault is for the next updates, the next lists, or all updates of one contact:
"next", "list" or "contact". It has a status, and optionally a body, headers, a delay such as "2s", and a break: "reset"
closes the connection without an answer, "half" in the middle of the body, and
"hang" answers nothing. A 200 is an update that OpenCX accepts and drops. The
same can be sent to /_sim/faults with POST and DELETE.

An edit is one that a person makes in OpenCX: it takes the fields of an update,
of which a null erases one, and is no request. The same can be made on the page,
and sent to /_sim/contacts/ID with PATCH, as {"contact": {...}}.

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "opencx-simulator: %s\n", err)
		os.Exit(2)
	}
}

// run serves until ctx ends. It prints the address once it listens.
func run(ctx context.Context, args []string, out io.Writer) error {
	address, options, steer, err := parseFlags(args, out)
	if err != nil {
		return err
	}
	if steer.at != "" {
		return steer.send(ctx)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	server := &http.Server{
		Handler: opencxtest.New(options), ReadHeaderTimeout: 10 * time.Second,
		// Ends delays and hanging answers, which would outlast the grace below.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	_, _ = fmt.Fprintf(out, "Simulating OpenCX at http://%s%s\n", listener.Addr(), options.BasePath)
	stopped := make(chan struct{})
	context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if server.Shutdown(grace) != nil {
			_ = server.Close() // a client is still sending; it will not be waited for
		}
		close(stopped)
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-stopped
	return nil
}

func parseFlags(args []string, out io.Writer) (address string, options opencxtest.Options, steer control, err error) {
	flags := flag.NewFlagSet("opencx-simulator", flag.ContinueOnError)
	limit := budget.DefaultLimit
	flags.StringVar(&address, "listen", "127.0.0.1:8085", "`address` to serve on; port 0 takes a free one")
	flags.Var(&limit, "limit", "requests that a key may make in any `window`, as count/duration")
	keys := flags.String("keys", "", "accepted bearer tokens, separated by commas; when empty, any token is")
	flags.BoolVar(&options.OneOrganization, "one-organization", false, "let all tokens share one limit, as those of one organization do")
	contacts := flags.String("contacts", "", "`IDs` of the contacts that exist, separated by commas")
	flags.BoolVar(&options.AcceptAnyContact, "accept-any-contact", false, "create a contact when it is first updated, instead of answering 404")
	flags.StringVar(&options.BasePath, "base-path", "", "`path` before /contacts, such as /gateway")
	flags.BoolVar(&options.RetryAfter, "retry-after", false, "put Retry-After into the 429s of the limit")
	flags.DurationVar(&options.MinLatency, "latency", 0, "time that passes before every answer, such as 200ms")
	writeOnly := flags.String("write-only-keys", "", "those of the `tokens` that may not list contacts, separated by commas")
	flags.IntVar(&options.List.PageSize, "page-size", 100, "contacts on a page of the list")
	flags.DurationVar(&options.List.CursorLife, "cursor-life", 0, "time for which a cursor of the list works, such as 30s; 0 is for ever")
	flags.BoolVar(&options.Store.ReplaceCustomData, "replace-custom-data", false, "let an update replace custom_data as a whole, instead of the keys that it has")
	flags.BoolVar(&options.Store.Normalize, "normalize", false, "hold emails in lower case, and phones as + and digits")
	flags.StringVar(&steer.at, "at", "", "`address` of a running simulator to steer, instead of serving")
	flags.StringVar(&steer.inject, "inject", "", "with --at: a `fault`, in JSON")
	flags.StringVar(&steer.add, "add", "", "with --at: `IDs` of contacts to add, separated by commas")
	flags.StringVar(&steer.edit, "edit", "", "with --at and --to: `ID` of a contact to edit, as a person does in OpenCX")
	flags.StringVar(&steer.to, "to", "", "with --edit: the `fields` to change, in JSON; null erases one")
	flags.BoolVar(&steer.clear, "clear", false, "with --at: end all faults")
	flags.Usage = func() {}
	flags.SetOutput(io.Discard)
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(out)
		_, _ = fmt.Fprint(out, usage)
		flags.PrintDefaults()
		return "", options, steer, err
	} else if err != nil {
		return "", options, steer, fmt.Errorf("%w; --help lists the flags", err)
	}
	if rest := flags.Args(); len(rest) > 0 {
		return "", options, steer, fmt.Errorf("unexpected argument %q: settings are given as --flag=value", rest[0])
	}
	if options.BasePath != "" && (!strings.HasPrefix(options.BasePath, "/") || strings.HasSuffix(options.BasePath, "/")) {
		return "", options, steer, fmt.Errorf("--base-path: %q must start with a slash and not end with one", options.BasePath)
	}
	if plain := (&url.URL{Path: options.BasePath}).EscapedPath(); plain != options.BasePath || strings.HasPrefix(plain+"/", "/_sim/") {
		return "", options, steer, fmt.Errorf("--base-path: %q must need no escaping and not be below /_sim, which steers the simulator", options.BasePath)
	}
	if options.MinLatency < 0 {
		return "", options, steer, fmt.Errorf("--latency: %s is negative", options.MinLatency)
	}
	if options.List.PageSize < 1 {
		return "", options, steer, fmt.Errorf("--page-size: %d is less than 1", options.List.PageSize)
	}
	if options.List.CursorLife < 0 {
		return "", options, steer, fmt.Errorf("--cursor-life: %s is negative", options.List.CursorLife)
	}
	options.Limit, options.Window = limit.Requests, limit.Window
	options.Keys, options.WriteOnlyKeys, options.Contacts = list(*keys), list(*writeOnly), list(*contacts)
	// An empty list accepts any token, which nobody means who wrote a comma.
	if *keys != "" && len(options.Keys) == 0 {
		return "", options, steer, fmt.Errorf("--keys: %q names no token", *keys)
	}
	if *contacts != "" && len(options.Contacts) == 0 {
		return "", options, steer, fmt.Errorf("--contacts: %q names no ID", *contacts)
	}
	return address, options, steer, steer.check()
}

// list splits at commas and spaces; "" is an empty list.
func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}
