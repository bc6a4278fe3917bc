package netlab

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Route is a route of a namespace, as ip-route(8) has them.
type Route struct {
	// Prefix are the addresses that it is for.
	Prefix netip.Prefix
	// Via is the router to send to; the zero Addr for none.
	Via netip.Addr
	// Link is the interface to send through, by name; "" leaves it to Via.
	Link string
	// Type is the type, such as unix.RTN_UNREACHABLE, RTN_PROHIBIT or RTN_BLACKHOLE; 0
	// is unix.RTN_UNICAST.
	Type int
}

// AddRoute adds a route. One that is there already is [fs.ErrExist].
func (n *Namespace) AddRoute(r Route) error {
	return n.Do(func() error {
		if err := addRoute(r); err != nil {
			return fmt.Errorf("netlab: add route %+v: %w%s", r, err,
				hint(err, unix.EPERM, "it needs CAP_NET_ADMIN, as after Main or Reexec"))
		}
		return nil
	})
}

func addRoute(r Route) error {
	dst, err := ipNet(r.Prefix)
	if err != nil {
		return err
	}
	route := &netlink.Route{Dst: dst, Type: r.Type}
	if route.Type == 0 {
		route.Type = unix.RTN_UNICAST
	}
	if r.Via.IsValid() {
		route.Gw = r.Via.AsSlice()
	}
	if r.Link != "" {
		l, err := netlink.LinkByName(r.Link)
		if err != nil {
			return err
		}
		route.LinkIndex = l.Attrs().Index
	}
	return netlink.RouteAdd(route)
}

// AddLocalRoute makes every address of the prefix one of the namespace's own,
// as "ip route add local 10.0.0.0/8 dev lo" does: the kernel delivers and
// answers what is sent to them. Sockets may bind the IPv4 ones; for the IPv6
// ones they need IPV6_FREEBIND. A route that is there already is [fs.ErrExist].
func (n *Namespace) AddLocalRoute(prefix netip.Prefix) error {
	return n.Do(func() error {
		err := addLocalRoute(prefix)
		if err != nil {
			return fmt.Errorf("netlab: add local route %v: %w%s", prefix, err,
				hint(err, unix.EPERM, "it needs CAP_NET_ADMIN, as after Main or Reexec"))
		}
		return nil
	})
}

func addLocalRoute(prefix netip.Prefix) error {
	dst, err := ipNet(prefix)
	if err != nil {
		return err
	}
	if p := prefix.Masked(); p != prefix {
		return fmt.Errorf("%w (bits are set beyond the prefix length; %v has none)", unix.EINVAL, p)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{
		LinkIndex: lo.Attrs().Index,
		Dst:       dst,
		Table:     unix.RT_TABLE_LOCAL,
		Type:      unix.RTN_LOCAL,
		Scope:     netlink.SCOPE_HOST,
	})
}
