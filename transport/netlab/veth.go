package netlab

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// End is one end of a veth pair.
type End struct {
	In    *Namespace     // nil is the current one
	Name  string         // of the interface, 1 to 15 bytes
	Addrs []netip.Prefix // beside the IPv6 link-local address, which the kernel adds
}

// Veth makes a pair of connected Ethernet interfaces (veth(4)). When it returns
// both are up, and packets to their addresses arrive. The pair goes when either
// end is deleted or either namespace ends.
func Veth(a, b End) error {
	for _, end := range []*End{&a, &b} {
		if end.Name == "" || len(end.Name) >= unix.IFNAMSIZ {
			return fmt.Errorf("netlab: veth: interface name %q: %w (right would be 1 to 15 bytes)", end.Name, unix.EINVAL)
		}
		if end.In == nil {
			current, err := Current()
			if err != nil {
				return err
			}
			defer current.Close()
			end.In = current
		}
	}
	err := connect(a, b)
	if err != nil {
		return fmt.Errorf("netlab: veth %s to %s: %w%s", a.Name, b.Name, err,
			hint(err, unix.EOPNOTSUPP, "the kernel lacks the veth driver, CONFIG_VETH"))
	}
	return nil
}

func connect(a, b End) (err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = a.Name
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: b.Name}
	err = b.In.withFD(func(fd int) error {
		pair.PeerNamespace = netlink.NsFd(fd)
		return a.In.Do(func() error { return netlink.LinkAdd(pair) })
	})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			a.In.Do(func() error { return netlink.LinkDel(pair) })
		}
	}()
	for _, step := range []func(End) error{End.configure, End.await} {
		for _, end := range []End{a, b} {
			if err := end.In.Do(func() error { return step(end) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// configure gives the end its addresses and switches it on.
func (e End) configure() error {
	link, err := netlink.LinkByName(e.Name)
	if err != nil {
		return fmt.Errorf("interface %q: %w", e.Name, err)
	}
	for _, prefix := range e.Addrs {
		if err := addAddr(link, prefix); err != nil {
			return fmt.Errorf("add address %v to interface %q: %w", prefix, e.Name, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("switch interface %q on: %w", e.Name, err)
	}
	return nil
}

func (e End) await() error { return await(e.Name) }
