package opencx

import (
	"strings"
	"testing"
)

func TestASecretMatchesInItsNormalForm(t *testing.T) {
	for name, tt := range map[string]struct {
		text   string
		normal func(string) string
		want   bool
	}{
		"equal":                               {"Jane", nil, true},
		"of another case":                     {"JANE", nil, false},
		"of another case, which is no matter": {"JANE", strings.ToLower, true},
		"equal and normal":                    {"Jane", strings.ToLower, true},
		"another text":                        {"John", strings.ToLower, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := NewSecret("Jane").Matches(tt.text, tt.normal); got != tt.want {
				t.Errorf("matches: %v, want %v", got, tt.want)
			}
		})
	}
}
