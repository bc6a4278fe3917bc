package resolve

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	a    = dnsmessage.TypeA
	aaaa = dnsmessage.TypeAAAA
)

// zone answers as the names say.
func zone(network string, query dnsmessage.Message) [][]byte {
	q := query.Questions[0]
	name := strings.ToLower(q.Name.String())
	one := func(code dnsmessage.RCode, answers, authorities records) [][]byte {
		return [][]byte{response(query, code, answers, authorities, nil)}
	}
	none := func() [][]byte { return one(dnsmessage.RCodeSuccess, nil, records{soa(700, 80)}) }
	four := func(ttl uint32) records { return records{rr(name, ttl, "192.0.2.1")} }
	switch {
	case name == "both.example." && q.Type == a:
		return one(0, four(300), nil)
	case name == "both.example.":
		return one(0, records{rr(name, 200, "2001:db8::1"), rr(name, 250, "2001:db8::1")}, nil)
	case name == "alias.example." && q.Type == a:
		return one(0, records{rr(name, 600, "far.example."), rr("far.example.", 50, "end.example."),
			rr("end.example.", 500, "192.0.2.2"), rr("end.example.", 500, "192.0.2.3")}, nil)
	case name == "zero.example." && q.Type == a:
		return one(0, four(0), nil)
	case name == "signed.example." && q.Type == a:
		return one(0, four(1<<31), nil)
	case name == "short.two.example." && q.Type == a:
		return one(0, four(90), nil)
	case name == "big.example." && q.Type == a && network == "udp":
		return [][]byte{response(query, 0, four(7), nil, func(m *dnsmessage.Message) { m.Truncated = true })}
	case name == "big.example." && q.Type == a:
		return one(0, four(77), nil)
	case name == "forged.example." && q.Type == a:
		return [][]byte{
			response(query, 0, four(1), nil, func(m *dnsmessage.Message) { m.ID++ }),
			response(query, 0, four(2), nil, func(m *dnsmessage.Message) { m.Response = false }),
			response(query, 0, four(3), nil, func(m *dnsmessage.Message) { m.Questions[0].Type = aaaa }),
			{0, 1, 2},
			response(dnsmessage.Message{Header: query.Header, Questions: []dnsmessage.Question{q}}, 0, four(4), nil, nil),
		}
	case name == "cut.example." && q.Type == a:
		b := response(query, 0, append(four(60), four(5)...), nil, nil)
		return [][]byte{b[:len(b)-3]}
	case strings.HasSuffix(name, "broken.example."):
		return one(dnsmessage.RCodeServerFailure, four(6), nil)
	case name == "silent.example.":
		return nil
	case strings.HasPrefix(name, "absent."):
		return one(dnsmessage.RCodeNameError, nil, records{soa(60, 120)})
	}
	return none()
}

func addrs(list ...string) (all []netip.Addr) {
	for _, s := range list {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

func TestSystemFindsAddressesAndHowLongTheyHold(t *testing.T) {
	needEtc(t)
	serve(t, "127.0.0.1", zone)
	for _, c := range []struct {
		network, host string
		want          []netip.Addr
		ttl           time.Duration // -1: not known
	}{
		{"ip", "both.example", addrs("192.0.2.1", "2001:db8::1"), 200 * time.Second},
		{"ip4", "both.example", addrs("192.0.2.1"), 300 * time.Second},
		{"ip6", "both.example", addrs("2001:db8::1"), 200 * time.Second},
		{"ip", "BOTH.example.", addrs("192.0.2.1", "2001:db8::1"), 200 * time.Second},
		{"ip", "alias.example.", addrs("192.0.2.2", "192.0.2.3"), 50 * time.Second},
		{"ip4", "zero.example.", addrs("192.0.2.1"), 0},
		{"ip4", "signed.example.", addrs("192.0.2.1"), 0},
		{"ip", "short", addrs("192.0.2.1"), 90 * time.Second},
		{"ip", "big.example.", addrs("192.0.2.1"), 77 * time.Second},
		{"ip4", "forged.example.", addrs("192.0.2.1"), 4 * time.Second},
		{"ip4", "cut.example.", addrs("192.0.2.1"), 60 * time.Second},
		{"ip", "listed", addrs("192.0.2.80", "2001:db8::80"), -1},
		{"ip4", "listed", addrs("192.0.2.80"), -1},
		{"ip6", "linked", addrs("fe80::80%lo", "fe80::80%nsm"), -1},
		{"ip", "192.0.2.9", addrs("192.0.2.9"), -1},
		{"ip", "::ffff:192.0.2.9", addrs("192.0.2.9"), -1},
		{"ip6", "fe80::9%lo", addrs("fe80::9%lo"), -1},
	} {
		t.Run(c.network+" "+c.host, func(t *testing.T) {
			got, err := System()(t.Context(), c.network, c.host)
			if err != nil {
				t.Fatal(err)
			}
			slices.SortFunc(got.Addrs, netip.Addr.Compare) // the order depends on the routes
			if !slices.Equal(got.Addrs, c.want) {
				t.Errorf("addresses %v, want %v", got.Addrs, c.want)
			}
			if got.HasTTL != (c.ttl >= 0) || got.HasTTL && got.TTL != c.ttl {
				t.Errorf("TTL %v (known: %t), want %v", got.TTL, got.HasTTL, c.ttl)
			}
		})
	}
}

func TestSystemTellsWhatIsWrong(t *testing.T) {
	needEtc(t)
	first, second := serve(t, "127.0.0.1", zone), serve(t, "127.0.0.2", zone)
	for _, c := range []struct {
		network, host                string
		notFound, timeout, temporary bool
		ttl                          time.Duration // 0: not known
		queries                      int           // that each server gets
	}{
		{"ip", "absent.example.", true, false, false, 60 * time.Second, -1},
		{"ip", "nothing.example.", true, false, false, 80 * time.Second, -1},
		{"ip6", "192.0.2.1", true, false, false, 0, 0},
		{"ip6", "", true, false, false, 0, 0},
		{"ip", "not a name", true, false, false, 0, 0},
		{"ip4", "broken.example.", false, false, true, 0, 1},
		{"ip4", "silent.example.", false, true, true, 0, 1},
	} {
		t.Run(c.network+" "+c.host, func(t *testing.T) {
			before := [2]int{first.queries(), second.queries()}
			got, err := System()(t.Context(), c.network, c.host)
			e, ok := errors.AsType[*net.DNSError](err)
			if !ok || e.IsNotFound != c.notFound || e.IsTimeout != c.timeout || e.Temporary() != c.temporary {
				t.Fatalf("error %#v", err)
			}
			if len(got.Addrs) > 0 || got.HasTTL != (c.ttl > 0) || got.TTL != c.ttl {
				t.Errorf("%+v, want no addresses and TTL %v", got, c.ttl)
			}
			for i, n := range []int{first.queries() - before[0], second.queries() - before[1]} {
				if c.queries >= 0 && n != c.queries {
					t.Errorf("server %d got %d queries, want %d", i, n, c.queries)
				}
			}
		})
	}
	if _, err := System()(t.Context(), "tcp", "listed"); err != net.UnknownNetworkError("tcp") {
		t.Errorf("network tcp: %v", err)
	}
}

// The end of the context closes the connections, which the resolver would not.
func TestSystemEndsWithTheContext(t *testing.T) {
	needEtc(t)
	asked := make(chan struct{}, 1)
	closed := make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	packets, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	go func() { // sends the client to TCP
		b := make([]byte, 4096)
		n, from, err := packets.ReadFrom(b)
		var query dnsmessage.Message
		if err == nil && query.Unpack(b[:n]) == nil {
			packets.WriteTo(response(query, 0, nil, nil, func(m *dnsmessage.Message) { m.Truncated = true }), from)
		}
	}()
	go func() {
		defer close(closed)
		if c, err := l.Accept(); err == nil {
			asked <- struct{}{}
			for b := make([]byte, 512); err == nil; _, err = c.Read(b) {
			}
			c.Close()
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	_, err = System()(ctx, "ip4", "silent.example.")
	if e, ok := errors.AsType[*net.DNSError](err); !ok || !errors.Is(err, context.Canceled) || e.IsTimeout || e.Name != "silent.example." {
		t.Errorf("error %#v", err)
	}
	<-closed
}
