package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// AddAddr adds an address, and the route to the rest of its prefix, to the
// interface of that name. If the interface is up the address can be used when
// AddAddr returns. An address that is there already is [fs.ErrExist].
func (n *Namespace) AddAddr(link string, prefix netip.Prefix) error {
	return n.Do(func() error {
		l, err := netlink.LinkByName(link)
		if err == nil {
			err = addAddr(l, prefix)
		}
		if err == nil && prefix.Addr().Is6() && running(l) {
			err = await(link)
		}
		if err != nil {
			return fmt.Errorf("netlab: add address %v to interface %q: %w%s", prefix, link, err,
				hint(err, unix.EPERM, "it needs CAP_NET_ADMIN, as after Main or Reexec"))
		}
		return nil
	})
}

// SetLink switches the interface of that name on or off. One that has a carrier
// can be used when SetLink returns. One that is switched off loses its IPv6
// addresses, unless net.ipv6.conf.all.keep_addr_on_down is set.
func (n *Namespace) SetLink(link string, up bool) error {
	return n.Do(func() error {
		l, err := netlink.LinkByName(link)
		if err == nil && !up {
			err = netlink.LinkSetDown(l)
		}
		if err == nil && up {
			err = switchOn(l)
		}
		if err != nil {
			return fmt.Errorf("netlab: switch interface %q on (%t): %w%s", link, up, err,
				hint(err, unix.EPERM, "it needs CAP_NET_ADMIN, as after Main or Reexec"))
		}
		return nil
	})
}

// SetMTU sets the largest packet of the interface of that name, in bytes.
func (n *Namespace) SetMTU(link string, mtu int) error {
	return n.Do(func() error {
		l, err := netlink.LinkByName(link)
		if err == nil {
			err = netlink.LinkSetMTU(l, mtu)
		}
		if err != nil {
			return fmt.Errorf("netlab: set the MTU of interface %q to %d: %w%s", link, mtu, err,
				hint(err, unix.EPERM, "it needs CAP_NET_ADMIN, as after Main or Reexec"))
		}
		return nil
	})
}

func switchOn(link netlink.Link) error {
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	link, err := netlink.LinkByIndex(link.Attrs().Index)
	if err != nil || link.Attrs().RawFlags&unix.IFF_LOWER_UP == 0 {
		return err // nobody is at the other end
	}
	return await(link.Attrs().Name)
}

func addAddr(link netlink.Link, prefix netip.Prefix) error {
	ipnet, err := ipNet(prefix)
	if err != nil {
		return err
	}
	return netlink.AddrAdd(link, &netlink.Addr{IPNet: ipnet})
}

func ipNet(prefix netip.Prefix) (*net.IPNet, error) {
	addr := prefix.Addr()
	if !prefix.IsValid() || addr.Is4In6() {
		return nil, fmt.Errorf("%w (right would be an IPv4 or IPv6 prefix such as 10.0.0.1/24 or fd00::1/64)", unix.EINVAL)
	}
	return &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(prefix.Bits(), addr.BitLen())}, nil
}

// running reports whether link is up and has a carrier, which it has only when
// its queueing discipline has been activated.
func running(link netlink.Link) bool { return link.Attrs().RawFlags&unix.IFF_RUNNING != 0 }

// patience bounds the wait for the kernel's own work on an interface, which is
// a matter of milliseconds, or of seconds where IPv6 duplicate address
// detection could not be switched off.
const patience = 30 * time.Second

// await returns when the interface can carry packets for all its addresses. The
// kernel sees to both in the background: it activates an interface after its
// carrier appears, and it adds the local route of an IPv6 address, without
// which it does not receive, after the address.
func await(name string) error {
	events, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return fmt.Errorf("rtnetlink(7) socket: %w", err)
	}
	defer events.Close()
	for deadline := time.Now().Add(patience); ; {
		missing, err := lacks(name)
		if err != nil || missing == "" {
			return err
		}
		left := unix.NsecToTimeval(max(time.Until(deadline), time.Microsecond).Nanoseconds())
		events.SetReceiveTimeout(&left)
		switch _, _, err := events.Receive(); {
		case errors.Is(err, unix.EAGAIN):
			return fmt.Errorf("after %v interface %q still has no %s", patience, name, missing)
		case err != nil && !errors.Is(err, unix.ENOBUFS): // ENOBUFS: events were lost, look again
			return fmt.Errorf("rtnetlink(7) events: %w", err)
		}
	}
}

// lacks names what the interface still lacks, or nothing.
func lacks(name string) (missing string, err error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return "", err
	}
	if !running(link) {
		return "carrier", nil
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
	for errors.Is(err, netlink.ErrDumpInterrupted) {
		addrs, err = netlink.AddrList(link, netlink.FAMILY_V6)
	}
	if err != nil || len(addrs) == 0 {
		return "", err
	}
	local, err := localRoutes(link)
	if err != nil {
		return "", err
	}
	for _, a := range addrs {
		if !local[a.IP.String()] {
			return "local route to " + a.IP.String(), nil
		}
	}
	return "", nil
}

// localRoutes returns the IPv6 addresses for which packets are received on the
// interface.
func localRoutes(link netlink.Link) (map[string]bool, error) {
	filter := &netlink.Route{LinkIndex: link.Attrs().Index, Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL}
	const by = netlink.RT_FILTER_OIF | netlink.RT_FILTER_TABLE | netlink.RT_FILTER_TYPE
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, filter, by)
	for errors.Is(err, netlink.ErrDumpInterrupted) {
		routes, err = netlink.RouteListFiltered(netlink.FAMILY_V6, filter, by)
	}
	local := make(map[string]bool)
	for _, r := range routes {
		if r.Dst != nil {
			local[r.Dst.IP.String()] = true
		}
	}
	return local, err
}
