package cmd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"iomux/transport/tun"
)

const tunNetwork = "tun"

// tunQueueLen is how many packets wait for a loop: what a sweep sends within some
// milliseconds.
const tunQueueLen = 4096

// tunOptions reads what --tun and its companions say, and reports everything that is
// wrong with them.
func (o *serverOptions) tunOptions() (tun.Options, error) {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	var prefixes []netip.Prefix
	for _, text := range o.tun {
		p, err := parsePrefix(text)
		if err != nil {
			refuse("--tun %s: %w", text, err)
			continue
		}
		for _, other := range prefixes {
			if p.Overlaps(other) {
				refuse("--tun %s: it overlaps with %v; want each address once", text, other)
			}
		}
		prefixes = append(prefixes, p)
	}
	six := slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Addr().Is6() })
	switch mtu := o.tunMTU; {
	case mtu < 68 || mtu > 65535:
		refuse("--tun-mtu %d: want 68 to 65535 bytes", mtu)
	case six && mtu < 1280:
		refuse("--tun-mtu %d: IPv6 takes at least 1280 bytes", mtu)
	}
	if len(o.tunName) >= unix.IFNAMSIZ {
		refuse("--tun-name %s: a name has at most %d bytes", o.tunName, unix.IFNAMSIZ-1)
	}
	addrs, err := o.tunAddresses(prefixes)
	errs = append(errs, each(err)...)
	return tun.Options{Addrs: addrs, Routes: prefixes, MTU: int(o.tunMTU), QueueLen: tunQueueLen}, join(errs...)
}

// parsePrefix reads a prefix without bits behind its length, or an address.
func parsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if addr, errAddr := netip.ParseAddr(text); errAddr == nil && addr.Zone() == "" {
		p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	switch {
	case err != nil || p.Addr().Is4In6():
		return p, errors.New("want a prefix such as 10.64.0.0/10 or fd00:64::/32")
	case p != p.Masked():
		return p, fmt.Errorf("bits are set behind the length; want %v", p.Masked())
	case p.Addr().IsMulticast():
		return p, errors.New("want addresses of hosts, not multicast groups")
	}
	return p, nil
}

// tunAddresses are the kernel's own.
func (o *serverOptions) tunAddresses(prefixes []netip.Prefix) (own []netip.Prefix, err error) {
	if !o.given("tun-address") {
		var has4, has6 bool
		for _, p := range prefixes {
			has := &has4
			if p.Addr().Is6() {
				has = &has6
			}
			if !*has && !p.IsSingleIP() {
				own = append(own, host(lastUsable(p)))
			}
			*has = true
		}
		return own, nil
	}
	if len(o.tunAddress) == 1 && o.tunAddress[0] == "none" {
		return nil, nil
	}
	var errs []error
	for _, text := range o.tunAddress {
		a, err := netip.ParseAddr(text)
		switch {
		case err != nil || a.Zone() != "" || a.Is4In6() || a.IsMulticast() || a.IsUnspecified():
			errs = append(errs, fmt.Errorf("--tun-address %s: want an address such as 10.64.0.1, without a length, or none", text))
		case slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Addr().Is4() == a.Is4() }):
			errs = append(errs, fmt.Errorf("--tun-address %s: want one address per family", text))
		default:
			own = append(own, host(a))
		}
	}
	return own, join(errs...)
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// lastUsable is the last address of a prefix or, of IPv4 with a broadcast address, the
// one before it.
func lastUsable(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	if p.Addr().Is4() && p.Bits() < 31 {
		return last.Prev()
	}
	return last
}

// goneError is what the end of a device means.
type goneError struct{ name string }

func (e goneError) Error() string {
	return fmt.Sprintf("the device %s is gone: somebody has deleted it or moved it to another network namespace", e.name)
}

// linkEvent is what has become of the device.
type linkEvent struct {
	up   bool
	gone bool
	err  error // of restoring its addresses and routes
}

// watchLink restores the addresses and routes of a device when it was down, and tells
// what happens to it. report is called from another goroutine, for changes only. The
// device was up when it was opened.
func watchLink(d *tun.Device, report func(linkEvent)) (stop func(), err error) {
	link, err := net.InterfaceByName(d.Name())
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	updates := make(chan netlink.LinkUpdate, 64)
	if err := netlink.LinkSubscribe(updates, done); err != nil {
		return nil, fmt.Errorf("rtnetlink(7): %w", err)
	}
	up := true
	see := func(is, missed bool) {
		if is == up && !(is && missed) {
			return
		}
		up = is
		e := linkEvent{up: up}
		if up {
			e.err = d.Up()
		}
		report(e)
	}
	// look asks how things stand, where changes may have been missed.
	look := func(missed bool) (there bool) {
		now, err := netlink.LinkByIndex(link.Index)
		switch {
		case errors.As(err, &netlink.LinkNotFoundError{}):
			report(linkEvent{gone: true})
			return false
		case err != nil:
			report(linkEvent{up: up, err: fmt.Errorf("the state of the device is not known: %w", err)})
		default:
			see(now.Attrs().Flags&net.FlagUp != 0, missed)
		}
		return true
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		if !look(false) {
			return
		}
		for {
			select {
			case <-done:
				return
			case u, open := <-updates:
				select {
				case <-done:
					return
				default:
				}
				switch {
				case !open: // there were more changes than it has room for
					updates = make(chan netlink.LinkUpdate, 64)
					if err := netlink.LinkSubscribe(updates, done); err != nil {
						report(linkEvent{up: up, err: fmt.Errorf("the device is not watched any more: rtnetlink(7): %w", err)})
						return
					}
					if !look(true) {
						return
					}
				case int(u.Index) != link.Index:
				case u.Header.Type == unix.RTM_DELLINK:
					report(linkEvent{gone: true})
					return
				default:
					see(u.IfInfomsg.Flags&unix.IFF_UP != 0, false)
				}
			}
		}
	}()
	return func() { close(done); <-finished }, nil
}

// joinPrefixes joins prefixes for people.
func joinPrefixes(ps []netip.Prefix) string {
	var texts []string
	for _, p := range ps {
		texts = append(texts, p.String())
	}
	return strings.Join(texts, ", ")
}
