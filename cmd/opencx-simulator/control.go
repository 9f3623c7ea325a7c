package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// control steers a running simulator instead of being one.
type control struct {
	at     string // its address; "" for not steering
	inject string // a fault, in JSON
	add    string // IDs of contacts to add, separated by commas
	edit   string // ID of a contact to edit
	to     string // what to edit it to, in JSON
	clear  bool
}

// check refuses flags that do not go together.
func (c control) check() error {
	actions := 0
	for _, given := range []bool{c.inject != "", c.add != "", c.edit != "" || c.to != "", c.clear} {
		if given {
			actions++
		}
	}
	switch {
	case c.at == "" && actions > 0:
		return errors.New("--inject, --add, --edit and --clear steer a running simulator: say which with --at")
	case c.at != "" && actions != 1:
		return errors.New("--at needs exactly one of --inject, --add, --edit and --clear")
	case (c.edit == "") != (c.to == ""):
		return errors.New("--edit says which contact, and --to what to change: give both")
	}
	return nil
}

// send carries the action out.
func (c control) send(ctx context.Context) error {
	method, path, body := http.MethodDelete, "faults", ""
	switch {
	case c.inject != "":
		method, body = http.MethodPost, c.inject
	case c.add != "":
		ids, err := json.Marshal(map[string][]string{"ids": list(c.add)})
		if err != nil {
			return fmt.Errorf("--add: %w", err)
		}
		method, path, body = http.MethodPost, "contacts", string(ids)
	case c.edit != "":
		input, err := json.Marshal(map[string]json.RawMessage{"contact": json.RawMessage(c.to)})
		if err != nil {
			return fmt.Errorf("--to: %q is no JSON", c.to)
		}
		method, path, body = http.MethodPatch, "contacts/"+url.PathEscape(c.edit), string(input)
	}
	address, err := url.JoinPath(c.at, "_sim", path)
	if err != nil {
		return fmt.Errorf("--at: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("--at: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("steering the simulator: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		reason, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		return fmt.Errorf("the simulator refused: %s", strings.TrimSpace(string(reason)))
	}
	return nil
}
