package opencxtest

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheStore(t *testing.T) {
	const once = `{"contact":{"name":"Jane","email":"Jane@Example.com","phone":"+1 (202) 555-0123","custom_data":{"a":"1","b":"2"}}}`
	for name, tt := range map[string]struct {
		options StoreOptions
		updates []string // one a second, the first after one
		want    string   // the fields
		updated time.Duration
	}{
		"merges custom data":        {StoreOptions{}, []string{once, `{"contact":{"custom_data":{"b":"3"}}}`}, "map[custom_data:map[a:1 b:3] email:Jane@Example.com name:Jane phone:+1 (202) 555-0123]", 2 * time.Second},
		"merges empty custom data":  {StoreOptions{}, []string{once, `{"contact":{"custom_data":{}}}`}, "map[custom_data:map[a:1 b:2] email:Jane@Example.com name:Jane phone:+1 (202) 555-0123]", time.Second},
		"replaces custom data":      {StoreOptions{ReplaceCustomData: true}, []string{once, `{"contact":{"custom_data":{"b":"3"}}}`}, "map[custom_data:map[b:3] email:Jane@Example.com name:Jane phone:+1 (202) 555-0123]", 2 * time.Second},
		"replaces overrides":        {StoreOptions{}, []string{`{"contact":{"http_action_overrides":{"headers":{"a":"1"}}}}`, `{"contact":{"http_action_overrides":{"body_params":{"b":"2"}}}}`}, "map[http_action_overrides:map[body_params:map[b:2]]]", 2 * time.Second},
		"does not touch what stays": {StoreOptions{}, []string{once, once}, "map[custom_data:map[a:1 b:2] email:Jane@Example.com name:Jane phone:+1 (202) 555-0123]", time.Second},
		"touches what stays":        {StoreOptions{AlwaysTouch: true}, []string{once, `{"contact":{}}`}, "map[custom_data:map[a:1 b:2] email:Jane@Example.com name:Jane phone:+1 (202) 555-0123]", 2 * time.Second},
		"normalizes":                {StoreOptions{Normalize: true}, []string{once, once}, "map[custom_data:map[a:1 b:2] email:jane@example.com name:Jane phone:+12025550123]", time.Second},
		"normalizes no phone":       {StoreOptions{Normalize: true}, []string{`{"contact":{"phone":""}}`}, "map[phone:]", time.Second},
		"has a clock ahead":         {StoreOptions{Ahead: time.Hour}, []string{once}, "map[custom_data:map[a:1 b:2] email:Jane@Example.com name:Jane phone:+1 (202) 555-0123]", time.Hour + time.Second},
		"has a clock behind":        {StoreOptions{Ahead: -time.Hour}, []string{once}, "map[custom_data:map[a:1 b:2] email:Jane@Example.com name:Jane phone:+1 (202) 555-0123]", time.Second - time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				s := New(Options{Contacts: []string{"jane"}, Store: tt.options})
				for _, update := range tt.updates {
					time.Sleep(time.Second)
					s.ServeHTTP(httptest.NewRecorder(), sent{body: update}.request(""))
				}
				jane, _ := s.Contact("jane")
				if got := fmt.Sprint(jane.Fields); got != tt.want {
					t.Errorf("fields = %s, want %s", got, tt.want)
				}
				if created, updated := jane.CreatedAt.Sub(start), jane.UpdatedAt.Sub(start); created != tt.options.Ahead || updated != tt.updated {
					t.Errorf("created after %s and updated after %s, want %s and %s", created, updated, tt.options.Ahead, tt.updated)
				}
			})
		})
	}
}

func TestEditsAreMadeInOpenCX(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := New(Options{Contacts: []string{"jane"}, Store: StoreOptions{Normalize: true}})
		s.ServeHTTP(httptest.NewRecorder(), sent{body: `{"contact":{"custom_data":{"plan":"pro"}}}`}.request(""))
		before, _ := s.Contact("jane")
		time.Sleep(time.Second)
		exists := s.Edit("jane", func(c *Contact) {
			c.Fields["email"] = "JANE@example.com"
			c.Fields["custom_data"].(map[string]any)["plan"] = "free"
			c.ID, c.Patches = "john", 9
		})
		jane, _ := s.Contact("jane")
		got := fmt.Sprintf("%t %s %v %d %d %v %s", exists, jane.ID, jane.Fields, jane.Patches, jane.Edits, jane.Edited, jane.UpdatedAt.Sub(start))
		if want := "true jane map[custom_data:map[plan:free] email:jane@example.com] 1 1 [custom_data.plan email] 1s"; got != want {
			t.Errorf("contact = %s, want %s", got, want)
		}
		if got := fmt.Sprint(before.Fields); got != "map[custom_data:map[plan:pro]]" {
			t.Errorf("a copy from before has %s", got)
		}
		if s.Edit("john", func(*Contact) { t.Error("change was called") }) || len(s.Journal()) != 1 {
			t.Errorf("an unknown contact was edited, or %d requests are in the journal instead of 1", len(s.Journal()))
		}
	})
}
