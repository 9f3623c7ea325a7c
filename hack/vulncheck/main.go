// Vulncheck looks for known vulnerabilities in what the operator calls, with govulncheck.
// They are in the database at GOVULNDB, which is a URL of https, http or file, and
// otherwise Go's. Packages may be named; all are checked when none is.
//
// A vulnerability fails, and so does every mistake, but for a database that cannot be
// reached: whoever has no route to it is told so in one line.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// govulncheck runs the pinned one, in the root of the repository.
var govulncheck = []string{"go", "tool", "-modfile=hack/vuln/go.mod", "govulncheck"}

func main() {
	ctx := context.Background()
	database := cmp.Or(os.Getenv("GOVULNDB"), "https://vuln.go.dev")
	err := reach(ctx, database)
	if why, is := errors.AsType[*unreachable](err); is {
		fmt.Printf("vulncheck: %s cannot be reached, so nothing was checked: %s\n", database, why)
		return
	}
	if err == nil {
		err = check(ctx, database, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "vulncheck: %s\n", err)
		os.Exit(1)
	}
}

func check(ctx context.Context, database string, packages []string) error {
	if len(packages) == 0 {
		packages = []string{"./..."}
	}
	args := append(append(govulncheck[1:len(govulncheck):len(govulncheck)], "-db", database), packages...)
	command := exec.CommandContext(ctx, govulncheck[0], args...)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	return command.Run()
}

// unreachable is why nothing answers for a database.
type unreachable struct{ cause error }

// Error implements error.
func (u *unreachable) Error() string { return u.cause.Error() }

// reach asks for the index of a database. govulncheck ends alike when there is no route
// to it and when it is broken.
func reach(ctx context.Context, database string) error {
	if !strings.HasPrefix(database, "https://") && !strings.HasPrefix(database, "http://") {
		return nil // govulncheck says what is wrong with a file
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(database, "/")+"/index/modules.json.gz", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if certificate, is := errors.AsType[*tls.CertificateVerificationError](err); is {
		return certificate
	}
	if err != nil {
		return &unreachable{err}
	}
	_ = answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusProxyAuthRequired, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return &unreachable{errors.New(answer.Status)} // a proxy answers for it
	}
	return fmt.Errorf("%s is no database of vulnerabilities (%s): correct GOVULNDB", database, answer.Status)
}
