package netlab

import (
	"fmt"
	"math"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Throttle is how fast an interface may send: a token bucket (tc-tbf(8)).
type Throttle struct {
	// Rate is how many bytes leave in a second, link-layer headers included.
	Rate uint64
	// Burst is how many bytes leave at once after a pause. A longer packet never
	// does: it is dropped, which its sender may be told by ENOBUFS.
	Burst uint32
	// Limit is how many bytes wait for their turn. What finds no room is dropped.
	Limit uint32
}

// SetThrottle has the interface of that name send no faster than t. Set again, it
// changes the speed, and what waits stays. The zero Throttle takes it away, and
// what waits with it; where there is none that is [fs.ErrNotExist].
func (n *Namespace) SetThrottle(link string, t Throttle) error {
	return n.Do(func() error {
		err := setThrottle(link, t)
		if err != nil {
			return fmt.Errorf("netlab: throttle interface %q to %+v: %w%s%s", link, t, err,
				hint(err, unix.EPERM, "it needs CAP_NET_ADMIN, as after Main or Reexec"),
				hint(err, unix.ENOENT, "no throttle is set, or the kernel lacks CONFIG_NET_SCH_TBF"))
		}
		return nil
	})
}

func setThrottle(link string, t Throttle) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	bucket := &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       t.Rate,
		Limit:      t.Limit,
	}
	if t == (Throttle{}) {
		return netlink.QdiscDel(bucket)
	}
	// The kernel counts a bucket in the time that it takes to fill: 32 bits of
	// ticks of some nanoseconds.
	second := netlink.TickInUsec() * netlink.TIME_UNITS_PER_SEC
	ticks := float64(t.Burst) / float64(t.Rate) * second
	if t.Rate == 0 || t.Burst == 0 || ticks > math.MaxUint32 {
		return fmt.Errorf("%w (right would be a Burst that takes up to %d seconds at a Rate above 0)", unix.EINVAL, int(math.MaxUint32/second))
	}
	bucket.Buffer = uint32(ticks)
	return netlink.QdiscReplace(bucket)
}
