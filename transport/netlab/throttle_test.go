package netlab_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport/netlab"
)

func TestThrottleErrorsSayWhatFailed(t *testing.T) {
	n := newNamespace(t)
	slow := netlab.Throttle{Rate: 40, Burst: 160, Limit: 1 << 16}
	for _, c := range []struct {
		name string
		err  error
		is   error
		says string
	}{
		{"set, set again and taken away", errors.Join(n.SetThrottle("lo", slow), n.SetThrottle("lo", slow), n.SetThrottle("lo", netlab.Throttle{})), nil, ""},
		{"no rate", n.SetThrottle("lo", netlab.Throttle{Burst: 1}), unix.EINVAL, "at a Rate above 0"},
		{"burst too long", n.SetThrottle("lo", netlab.Throttle{Rate: 1, Burst: 1 << 20}), unix.EINVAL, "a Burst that takes up to"},
		{"no setting", n.SetSysctl("net.ipv4.nowhere", "1"), fs.ErrNotExist, "net.ipv4.nowhere"},
	} {
		if c.says == "" && c.err != nil || c.is != nil && !errors.Is(c.err, c.is) || c.err != nil && !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%s: %v, want %v and %q", c.name, c.err, c.is, c.says)
		}
	}
}
