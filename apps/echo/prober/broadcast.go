package prober

import (
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// isBroadcast reports whether the kernel would send to addr as a broadcast address, of
// the interface iface if that is not "", in packets with a mark. It asks for the route, which
// takes no privileges, and tells the EACCES that a broadcast address has without
// SO_BROADCAST from that of a prohibited route (rtnetlink(7), ip-route(8)). An address
// without a route is none, nor is one of IPv6. It takes some 30 microseconds, and is
// about the network namespace of the calling thread.
func isBroadcast(addr netip.Addr, iface string, mark uint32) bool {
	addr = addr.Unmap()
	if !addr.Is4() {
		return false
	}
	routes, err := netlink.RouteGetWithOptions(addr.AsSlice(), &netlink.RouteGetOptions{Oif: iface, Mark: mark})
	return err == nil && slices.ContainsFunc(routes, func(r netlink.Route) bool { return r.Type == unix.RTN_BROADCAST })
}
