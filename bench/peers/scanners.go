package peers

import (
	"bytes"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"iomux/transport/netlab"
)

// wire is a veth(4) from the namespace of the probers to one whose kernel answers. The
// targets are behind a gateway, for ARP does not get on with thousands of neighbours.
type wire struct {
	peer            *netlab.Namespace
	name            string // of the interface in the namespace of the probers
	source, gateway netip.Addr
	mac             net.HardwareAddr // of the gateway
	targets         netip.Prefix
}

func newWire(in *netlab.Namespace) (w *wire, err error) {
	w = &wire{
		name: "near", source: netip.MustParseAddr("10.7.0.1"), gateway: netip.MustParseAddr("10.7.0.2"),
		targets: netip.MustParsePrefix("10.8.0.0/16"),
	}
	if w.peer, err = netlab.New(); err != nil {
		return nil, err
	}
	const far = "far"
	ends := []netlab.End{
		{In: in, Name: w.name, Addrs: []netip.Prefix{netip.PrefixFrom(w.source, 24)}},
		{In: w.peer, Name: far, Addrs: []netip.Prefix{netip.PrefixFrom(w.gateway, 24)}},
	}
	err = netlab.Veth(ends[0], ends[1])
	if err == nil {
		err = w.peer.AddLocalRoute(w.targets)
	}
	if err == nil {
		err = in.AddRoute(netlab.Route{Prefix: w.targets, Via: w.gateway})
	}
	if err == nil {
		err = w.peer.Do(func() error {
			i, err := net.InterfaceByName(far)
			if err == nil {
				w.mac = i.HardwareAddr
			}
			return err
		})
	}
	if err != nil {
		w.peer.Close()
		return nil, err
	}
	return w, nil
}

func (w *wire) close() error { return w.peer.Close() }

// knock sends a datagram to the probers every 100 ms until stop is called: masscan ends
// with the first packet after its wait, and would otherwise stay for as long as none
// comes.
func (w *wire) knock() (stop func(), err error) {
	var conn *net.UDPConn
	err = w.peer.Do(func() (err error) {
		conn, err = net.DialUDP("udp4", nil, &net.UDPAddr{IP: w.source.AsSlice(), Port: 9}) // discard
		return err
	})
	if err != nil {
		return nil, err
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer conn.Close()
		for tick := time.NewTicker(100 * time.Millisecond); ; {
			select {
			case <-done:
				tick.Stop()
				return
			case <-tick.C:
				conn.Write([]byte{0}) // the error is that nobody listens
			}
		}
	}()
	return func() { close(done); <-ended }, nil
}

// rate is that of all requests, in a second.
func (l load) rate() string { return strconv.FormatInt(int64(time.Second/l.gap), 10) }

// lines counts those that begin so.
func lines(said []byte, prefix string) (n int) {
	for line := range bytes.Lines(said) {
		if bytes.HasPrefix(line, []byte(prefix)) {
			n++
		}
	}
	return n
}

// newMasscan looks for masscan, which builds its frames itself.
func newMasscan(w *wire) (*prober, error) {
	about, err := masscan.version("--version")
	return &prober{
		name: masscan.name, about: about, loses: true,
		args: func(l load) []string {
			return []string{"masscan", "--ping", l.first.String() + "-" + l.last().String(), "--rate", l.rate(), "--wait", "0",
				"-e", w.name, "--adapter-ip", w.source.String(), "--router-mac", strings.ReplaceAll(w.mac.String(), ":", "-"), "-oL", "-"}
		},
		parse: func(said []byte, l load) (tally, error) {
			if lines(said, "#masscan") != 1 {
				return tally{}, fmt.Errorf("it prints no list")
			}
			return tally{l.probes(), lines(said, "open icmp 0 "), 0}, nil
		},
	}, err
}

// newZmap looks for zmap, which builds its frames itself, and takes prefixes only. Its
// configuration forbids private addresses; it gets none.
func newZmap(w *wire) (*prober, error) {
	about, err := zmap.version("--version")
	return &prober{
		name: zmap.name, about: about, loses: true,
		args: func(l load) []string {
			targets := netip.PrefixFrom(l.first, 33-bits.Len(uint(l.n)))
			return []string{"zmap", "-M", "icmp_echoscan", "-C", "/dev/null", "-b", "/dev/null", "--disable-syslog", "-q", "-v", "1",
				"-i", w.name, "-S", w.source.String(), "-G", w.mac.String(), "-r", l.rate(), "-c", "1", targets.String()}
		},
		parse: func(said []byte, l load) (tally, error) {
			return tally{l.probes(), lines(said, "10."), 0}, nil
		},
	}, err
}
