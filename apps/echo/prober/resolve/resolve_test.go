package resolve

import (
	"testing"
	"time"
)

func TestRefresh(t *testing.T) {
	known := addrs("192.0.2.1")
	for _, c := range []struct {
		a    Answer
		want time.Duration
	}{
		{Answer{Addrs: known, TTL: 5 * time.Minute, HasTTL: true}, 5 * time.Minute},
		{Answer{Addrs: known, TTL: 0, HasTTL: true}, MinRefresh},
		{Answer{Addrs: known, TTL: forever, HasTTL: true}, MaxRefresh},
		{Answer{Addrs: known}, time.Minute},
		{Answer{TTL: time.Minute, HasTTL: true}, time.Minute},
		{Answer{TTL: 0, HasTTL: true}, MinRefresh},
		{Answer{TTL: forever, HasTTL: true}, 5 * time.Minute},
		{Answer{}, 30 * time.Second},
	} {
		several := make(map[time.Duration]bool)
		for range 1000 {
			d := c.a.Refresh()
			if several[d] = true; d < c.want || d > c.want+c.want/8 {
				t.Errorf("%+v: %v, want %v and up to an eighth more", c.a, d, c.want)
			}
		}
		if len(several) < 2 {
			t.Errorf("%+v: always the same", c.a)
		}
	}
}
