package opencx

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestAnAPIKeyHasABoundedLength(t *testing.T) {
	longest := strings.Repeat("k", 4096)
	for name, tt := range map[string]struct {
		held string
		want error
	}{
		"the longest":                      {longest, nil},
		"the longest and a newline":        {longest + "\n", nil},
		"the longest and a newline of DOS": {longest + "\r\n", nil},
		"one byte more":                    {longest + "k", ErrAPIKeyTooLong},
		"one byte more and a newline":      {longest + "k\n", ErrAPIKeyTooLong},
		"three bytes more":                 {longest + "kkk", ErrAPIKeyTooLong},
		"spaces alone, too many":           {strings.Repeat(" ", 4097), ErrAPIKeyTooLong},
	} {
		if _, err := NewAPIKey([]byte(tt.held)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if key, err := NewAPIKey([]byte(longest + "\n")); err != nil || key != (APIKey{Secret{longest}}) {
		t.Errorf("the longest key is another one: %v", err)
	}
}

func TestWhatIsTooLongForAnAPIKeyIsNotCopied(t *testing.T) {
	held := bytes.Repeat([]byte("k"), 1<<20)
	if copies := testing.AllocsPerRun(10, func() { _, _ = NewAPIKey(held) }); copies != 0 {
		t.Errorf("%.0f copies are made, want none", copies)
	}
}

func TestOneNewlineIsDropped(t *testing.T) {
	for held, want := range map[string]string{"a": "a", "a\n": "a", "a\r\n": "a", "a\n\n": "a\n", "a\r": "a\r", "\n": "", "": ""} {
		if got := TrimNewline(held); got != want {
			t.Errorf("%q becomes %q, want %q", held, got, want)
		}
	}
}
