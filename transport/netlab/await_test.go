package netlab

import (
	"testing"

	"github.com/vishvananda/netlink"
)

// From outside the package it is a matter of luck to see a carrier late.
func TestAwaitWaitsForTheCarrier(t *testing.T) {
	Need(t)
	n, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	err = n.Do(func() error {
		writeSysctl("net.ipv6.conf.default.disable_ipv6", "1") // addresses are another matter
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "here"
		pair := &netlink.Veth{LinkAttrs: attrs, PeerName: "there"}
		if err := netlink.LinkAdd(pair); err != nil {
			return err
		}
		if err := netlink.LinkSetUp(pair); err != nil {
			return err
		}
		if missing, err := lacks("here"); missing != "carrier" {
			t.Errorf("with the other end down it lacks %q, %v; want carrier", missing, err)
		}
		peer, err := netlink.LinkByName("there")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(peer); err != nil {
			return err
		}
		if err := await("here"); err != nil {
			return err
		}
		if missing, err := lacks("here"); missing != "" {
			t.Errorf("after await it lacks %q, %v", missing, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
