package opencx

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"
)

// values is a JSON object with as many names as fit into size bytes.
func values(size int) string {
	var object strings.Builder
	object.WriteString(`{"":0`)
	for i := 0; object.Len() < size-20; i++ {
		fmt.Fprintf(&object, `,"%x":0`, i)
	}
	object.WriteString("}")
	return object.String()
}

func TestAPageOfManySmallPartsTakesLittleMemory(t *testing.T) {
	const mebibyte = 1 << 20
	defer debug.SetGCPercent(debug.SetGCPercent(10)) // so that what is measured is in use
	data := values(7 * mebibyte)
	for name, body := range map[string]string{
		"custom data": `{"items":[{"id":"a","custom_data":` + data + `}]}`,
		"in an item":  `{"items":[` + data + `]}`,
		"in the page": `{"items":[],"a":` + strings.Repeat(`0,"a":`, 8*mebibyte/6) + `0}`,
		"items":       `{"items":[{"id":"a"}` + strings.Repeat(`,{"id":"a"}`, 9_999) + strings.Repeat(`,{}`, 2*mebibyte) + `]}`,
		"large pages": `{"items":[` + strings.Repeat(`{"id":"a","custom_data":{"a":"`+strings.Repeat("x", 160_000)+`"}},`, 190) + `{}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			runtime.GC()
			before, most := inUse(), uint64(0)
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
						most = max(most, inUse())
					}
				}
			}()
			page, err := readPage(t.Context(), strings.NewReader(body), make(chan struct{}, 1))
			close(stop)
			<-stopped
			t.Logf("%d MiB in all, %d MiB more at the most, %d contacts, error %v", len(body)/mebibyte, (most-before)/mebibyte, len(page.Contacts), err)
			if got := int(most-before) / mebibyte; got > 64 {
				t.Errorf("a page of %d MiB took %d MiB", len(body)/mebibyte, got)
			}
			runtime.KeepAlive(page)
		})
	}
}

func inUse() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
