package tun

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/hashicorp/go-multierror"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/sock"
)

// link is the device as rtnetlink(7) has it.
type link struct {
	options Options
	mu      sync.Mutex
	// handle stays in the network namespace that the device was made in; nil once
	// closed.
	handle *netlink.Handle
	device netlink.Link
}

func openLink(name string, o Options) (*link, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("rtnetlink(7) socket: %w", err)
	}
	device, err := h.LinkByName(name)
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("look up the device: %w", err)
	}
	return &link{options: o, handle: h, device: device}, nil
}

func (l *link) close() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handle != nil {
		l.handle.Close()
		l.handle = nil
	}
}

// configure applies the Options and switches the device on.
func (l *link) configure() error {
	if mtu := l.options.MTU; mtu != 0 && mtu != l.device.Attrs().MTU {
		if err := l.handle.LinkSetMTU(l.device, mtu); err != nil {
			return explain(fmt.Errorf("set the MTU to %d: %w", mtu, err))
		}
	}
	if n := l.options.QueueLen; n != 0 && n != l.device.Attrs().TxQLen {
		if err := l.handle.LinkSetTxQLen(l.device, n); err != nil {
			return explain(fmt.Errorf("set the queue length to %d: %w", n, err))
		}
	}
	return l.up()
}

// now returns the device as it is, which mu keeps from being closed. It goes by the
// index, as the name may have changed.
func (l *link) now() (netlink.Link, error) {
	if l.handle == nil {
		return nil, net.ErrClosed
	}
	device, err := l.handle.LinkByIndex(l.device.Attrs().Index)
	if err != nil {
		return nil, fmt.Errorf("look up the device: %w (has it been deleted, or moved to another network namespace?)", err)
	}
	return device, nil
}

// dropped counts the packets that found a queue full since the device was opened.
func (l *link) dropped() (uint32, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, err := l.now()
	if err != nil {
		return 0, err
	}
	return uint32(drops(now) - drops(l.device)), nil
}

func drops(device netlink.Link) uint64 {
	if s := device.Attrs().Statistics; s != nil {
		return s.TxDropped
	}
	return 0
}

// up makes the device as it should be.
func (l *link) up() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, err := l.now()
	if err != nil {
		return err
	}
	if now.Attrs().Flags&net.FlagUp == 0 {
		if err := l.handle.LinkSetUp(now); err != nil {
			return explain(fmt.Errorf("switch it on: %w", err))
		}
	}
	var errs *multierror.Error
	for _, p := range l.options.Addrs {
		err := l.handle.AddrAdd(now, &netlink.Addr{IPNet: ipNet(p)})
		if err != nil && !errors.Is(err, unix.EEXIST) && !(errors.Is(err, unix.EPERM) && l.has(now, p)) {
			errs = multierror.Append(errs, explain(fmt.Errorf("add address %v: %w", p, err)))
		}
	}
	for _, p := range l.options.Routes {
		if err := l.route(p); err != nil {
			errs = multierror.Append(errs, explain(fmt.Errorf("add route %v: %w", p, err)))
		}
	}
	return single(errs)
}

// route adds a route to the device unless it is there.
func (l *link) route(p netip.Prefix) error {
	r := &netlink.Route{LinkIndex: l.device.Attrs().Index, Dst: ipNet(p), Scope: netlink.SCOPE_LINK}
	family := netlink.FAMILY_V4
	if p.Addr().Is6() {
		family, r.Scope = netlink.FAMILY_V6, netlink.SCOPE_UNIVERSE
	}
	err := l.handle.RouteAdd(r)
	if !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.EPERM) {
		return err
	}
	ours, errList := l.handle.RouteListFiltered(family, r, netlink.RT_FILTER_OIF|netlink.RT_FILTER_DST)
	if errList == nil && len(ours) > 0 {
		return nil
	}
	if errors.Is(err, unix.EPERM) {
		return err
	}
	return fmt.Errorf("%w (it goes elsewhere)", err)
}

// has tells whether the device has the address. Without CAP_NET_ADMIN the kernel
// refuses to add any, also those that are there.
func (l *link) has(device netlink.Link, p netip.Prefix) bool {
	addrs, err := l.handle.AddrList(device, netlink.FAMILY_ALL)
	return err == nil && slices.ContainsFunc(addrs, func(a netlink.Addr) bool {
		return a.IPNet != nil && a.IPNet.String() == ipNet(p).String()
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// explain adds to a refusal what can be done.
func explain(err error) error {
	if errors.Is(err, unix.EPERM) {
		return &transport.PermissionError{Capability: "CAP_NET_ADMIN", Advice: sock.Grant("CAP_NET_ADMIN"), Err: err}
	}
	return err
}
