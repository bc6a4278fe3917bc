package icmp_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/icmp"
	"iomux/transport/netlab"
)

// What is beyond the far end of the cable, to which it is the router, by v6.
var (
	nowhere = map[bool]string{false: "198.51.100.1", true: "2001:db8:51::1"} // on a link where nobody has the address
	narrow  = map[bool]string{false: "203.0.113.1", true: "2001:db8:113::1"} // behind a link with an MTU of 1300
)

// expires is a message that the router discards: its time to live is over.
func (n network) expires(id, seq uint16) transport.Message {
	m := message(n.request, netip.MustParseAddr(narrow[n.v6]), id, seq, nil)
	m.TTL = 1
	return m
}

// router makes the far end of a cable one, which reports every error.
func router(t *testing.T) {
	t.Helper()
	far := cable(t)
	// Both ends of that link are the router's own. Where nobody answers one
	// question about an address it reports an error, on whose number it has no
	// limit then; on "no route" it has one that cannot be switched off.
	if err := netlab.Veth(netlab.End{In: far, Name: "beyond"}, netlab.End{In: far, Name: "end"}); err != nil {
		t.Fatal(err)
	}
	via := func(link string, to string, gateway netip.Addr, mtu int) error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		addr := net.ParseIP(to)
		bits := 128
		if v4 := addr.To4(); v4 != nil {
			addr, bits = v4, 32
		}
		route := &netlink.Route{LinkIndex: l.Attrs().Index, Gw: gateway.AsSlice(),
			Dst: &net.IPNet{IP: addr, Mask: net.CIDRMask(bits, bits)}, MTU: mtu, MTULock: mtu > 0}
		if !gateway.IsValid() {
			route.Scope = netlink.SCOPE_LINK
		}
		return netlink.RouteAdd(route)
	}
	err := far.Do(func() error {
		errs := []error{via("far", narrow[false], raw4.near, 1300), via("far", narrow[true], raw6.near, 1300),
			via("beyond", nowhere[false], netip.Addr{}, 0), via("beyond", nowhere[true], netip.Addr{}, 0)}
		for name, value := range map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1",
			"ipv4/icmp_ratelimit": "0", "ipv6/icmp/ratelimit": "0", "ipv4/icmp_msgs_per_sec": "100000",
			"ipv4/neigh/beyond/mcast_solicit": "1", "ipv6/neigh/beyond/mcast_solicit": "1",
			"ipv4/neigh/beyond/retrans_time_ms": "10", "ipv6/neigh/beyond/retrans_time_ms": "10"} {
			errs = append(errs, os.WriteFile("/proc/sys/net/"+name, []byte(value), 0))
		}
		return errors.Join(errs...)
	})
	for _, to := range []map[bool]string{nowhere, narrow} {
		err = errors.Join(err, via("near", to[false], raw4.far, 0), via("near", to[true], raw6.far, 0))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// reporting has errors reported, on a raw socket those about identifier 1.
func (n network) reporting() *transport.Config {
	o := icmp.Options{Errors: true, DontFragment: true}
	if !n.isPing() {
		o.Identifier = 1
	}
	return n.config(&transport.Config{Options: o})
}

// report waits for the one report there is to come.
func report(t *testing.T, tr transport.Transport) transport.ErrorReport {
	t.Helper()
	reports := make([]transport.ErrorReport, 2)
	for {
		recvQuiet(t, tr)
		n, lost, err := tr.(transport.ErrorReporter).ErrorReports(reports)
		if n > 1 || lost > 0 || err != nil {
			t.Fatalf("ErrorReports = %d, %d, %v, want one", n, lost, err)
		}
		if n == 1 {
			return reports[0]
		}
		if !poll(t, tr, unix.POLLIN, watchdog) {
			t.Fatal("there is no report")
		}
	}
}

// recvQuiet demands that Recv has neither a message nor an error.
func recvQuiet(t *testing.T, tr transport.Transport) {
	t.Helper()
	if n, err := tr.Recv(slots(1, 1500)); n != 0 || err != nil {
		t.Fatalf("Recv = %d, %v, want nothing", n, err)
	}
}

func TestNetworkErrorsAreReported(t *testing.T) {
	router(t)
	onAll(t, networks, func(t *testing.T, n network) {
		tr := open(t, n.name, "", n.reporting())
		id := uint16(1)
		if n.isPing() {
			id = tr.(transport.Identifier).Identifier()
		}
		for seq, c := range []struct {
			name   string
			to     string
			size   int
			ttl    uint8
			v4, v6 transport.ErrorReport
		}{
			{"nobody there", nowhere[n.v6], 56, 0,
				transport.ErrorReport{Errno: unix.EHOSTUNREACH, Type: 3, Code: 1},
				transport.ErrorReport{Errno: unix.EHOSTUNREACH, Type: 1, Code: 3}},
			{"time exceeded", narrow[n.v6], 0, 1,
				transport.ErrorReport{Errno: unix.EHOSTUNREACH, Type: 11, Code: 0},
				transport.ErrorReport{Errno: unix.EHOSTUNREACH, Type: 3, Code: 0}},
			{"too long", narrow[n.v6], 1400, 0,
				transport.ErrorReport{Errno: unix.EMSGSIZE, Type: 3, Code: 4, MTU: 1300},
				transport.ErrorReport{Errno: unix.EMSGSIZE, Type: 2, Code: 0, MTU: 1300}},
		} {
			m := message(n.request, netip.MustParseAddr(c.to), id, uint16(seq), pattern(c.size))
			m.TTL = c.ttl
			for range 2 { // what is known about the path afterwards does not matter
				send(t, tr, m)
				got := report(t, tr)
				want := c.v4
				if n.v6 {
					want = c.v6
				}
				want.Peer, want.From, want.Ifindex = m.Peer, n.far, ifindex(t, "near")
				quote := slices.Clone(got.Quote())
				if len(quote) < icmpHeader || len(quote) > 64 || !bytes.HasPrefix(m.Bytes()[4:], quote[4:min(len(quote), m.N)]) {
					t.Errorf("%s: the quote is %x", c.name, quote)
				}
				if got.SetQuote(nil); got != want {
					t.Errorf("%s: got %+v, want %+v", c.name, got, want)
				}
			}
			recvQuiet(t, tr)
			if poll(t, tr, unix.POLLIN, 0) {
				t.Errorf("%s: the descriptor is ready although everything was read", c.name)
			}
		}
	})
}

// A link-local address may be that of somebody on every link. What our own kernel
// reports about one that nobody has names the link as well, for IPv4 not.
func TestReportsNameTheInterface(t *testing.T) {
	far := cable(t)
	if err := netlab.Veth(netlab.End{Name: "next"}, netlab.End{In: far, Name: "other"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if link, err := netlink.LinkByName("next"); err == nil {
			netlink.LinkDel(link)
		}
	})
	links := []string{"near", "next"}
	for _, link := range links {
		for _, family := range []string{"ipv4", "ipv6"} {
			for setting, value := range map[string]string{"mcast_solicit": "1", "retrans_time_ms": "10"} {
				if err := lab(t).SetSysctl("net."+family+".neigh."+link+"."+setting, value); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	onAll(t, networks, func(t *testing.T, n network) {
		tr := open(t, n.name, "", n.reporting())
		for _, link := range links {
			peer, via := netip.MustParseAddr("fe80::dead"), link
			if !n.v6 {
				peer, via = n.near.Next().Next(), "lo"
			}
			m := message(n.request, peer, 1, 1, nil)
			m.Ifindex = ifindex(t, link)
			send(t, tr, m)
			got := report(t, tr)
			if got.SetQuote(nil); got.Ifindex != ifindex(t, via) || got.Peer != m.Peer || got.Errno != unix.EHOSTUNREACH {
				t.Errorf("%s: got %+v, want EHOSTUNREACH by interface %d about %v", link, got, ifindex(t, via), m.Peer)
			}
		}
	})
}

// The kernel tells every raw socket.
func TestErrorsOfOthersAreNotReported(t *testing.T) {
	router(t)
	onAll(t, []network{raw4, raw6}, func(t *testing.T, n network) {
		tr, all, other := open(t, n.name, "", n.reporting()), open(t, n.name, "", n.config(&transport.Config{Options: icmp.Options{Errors: true}})),
			open(t, n.name, "", n.config(nil))
		foreign, answer := n.expires(2, 7), n.expires(1, 9)
		answer.Bytes()[0] = n.reply // to somebody whose identifier is the same
		for range 3 {
			send(t, other, foreign)
			if got := report(t, all); !bytes.Equal(got.Quote()[4:8], foreign.Bytes()[4:8]) {
				t.Errorf("without Identifier the report quotes %x", got.Quote())
			}
		}
		send(t, other, answer)
		report(t, all)
		send(t, tr, n.expires(1, 8))
		if got := report(t, tr); got.Quote()[7] != 8 {
			t.Errorf("the report quotes %x, want that of our own message", got.Quote())
		}
	})
}

// An error that arrives keeps no message from being sent.
func TestReportedErrorsAreNoneOfSend(t *testing.T) {
	router(t)
	onAll(t, networks, func(t *testing.T, n network) {
		tr := open(t, n.name, "", n.reporting())
		bad, good := n.expires(1, 1), message(n.request, n.far, 1, 2, nil)
		for range 10 {
			send(t, tr, bad)
			if !poll(t, tr, 0, watchdog) { // for POLLERR: an error is pending
				t.Fatal("there is no error")
			}
			if sent, err := tr.Send([]transport.Message{good, good}); sent == 0 || err != nil {
				t.Fatalf("Send with an error pending = %d, %v", sent, err)
			}
		}
		refused := message(n.request, n.refused, 1, 3, nil)
		if sent, err := tr.Send([]transport.Message{refused}); sent != 0 || err == nil {
			t.Errorf("Send to %v = %d, %v, want an error", n.refused, sent, err)
		}
	})
}

func TestErrorReportsAreForThoseWhoAsk(t *testing.T) {
	router(t)
	onAll(t, networks, func(t *testing.T, n network) {
		tr := open(t, n.name, "", n.config(nil))
		send(t, tr, n.expires(1, 1))
		e, _ := transport.As[transport.ErrorReporter](tr)
		if got, lost, err := e.ErrorReports(make([]transport.ErrorReport, 1)); got != 0 || lost != 0 || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("ErrorReports = %d, %d, %v, want errors.ErrUnsupported", got, lost, err)
		}
		recvQuiet(t, tr)
	})
}
