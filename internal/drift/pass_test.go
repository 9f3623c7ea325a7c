package drift

import (
	"testing"
	"time"

	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

func TestTheWatermark(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tt := range map[string]struct{ date, want time.Time }{
		"a little earlier":               {now.Add(-90 * time.Second), now.Add(-210 * time.Second)},
		"a little later":                 {now.Add(90 * time.Second), now.Add(-30 * time.Second)},
		"none":                           {time.Time{}, now.Add(-2 * time.Minute)},
		"far ahead":                      {now.AddDate(1, 0, 0), now.Add(-2 * time.Minute)},
		"before year 0 with its overlap": {time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), now.Add(-2 * time.Minute)},
	} {
		p := &pass{}
		p.takes(opencx.Page{Date: tt.date}, now, 2*time.Minute)
		if !p.watermark.Equal(tt.want) {
			t.Errorf("%s: got %s, want %s", name, p.watermark, tt.want)
		}
	}
}
