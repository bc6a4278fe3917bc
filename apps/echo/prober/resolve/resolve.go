// Package resolve turns host names into addresses in the background, and says how
// long to believe them, so that a program which runs on an event loop neither
// waits for name servers nor ends because of them.
//
// A [Lookup] asks; [System] is that of this host. A [Pool] runs lookups a few at a
// time and delivers on the loop, where [Answer.Refresh] says when to ask again:
//
//	names := resolve.NewPool(resolve.System(), 16, l.Post) // l is a *loop.Loop
//	l.Own(names)
//	var ask func()
//	ask = func() {
//		names.Resolve("ip", "www.example.com", func(a resolve.Answer, err error) {
//			if err != nil {
//				log.Print(err) // what was known before may still be used
//			} else {
//				use(a.Addrs)
//			}
//			l.AfterFunc(a.Refresh(), ask)
//		})
//	}
//	ask()
//	err := l.Run(ctx)
package resolve

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// Answer is what a name stands for.
type Answer struct {
	// Addrs are the addresses, the most suitable first (RFC 6724), each once. IPv4
	// addresses are not mapped into IPv6, and link-local ones have the zone that
	// /etc/hosts gives them. It is empty exactly where there is an error.
	Addrs []netip.Addr
	// TTL is how long the answer holds, in whole seconds: the smallest time to live
	// of the DNS records that were used (RFC 1035, section 3.2.1). With an error
	// that says there is no such host, it is how long to believe that (RFC 2308,
	// section 5).
	TTL time.Duration
	// HasTTL tells a TTL of 0, by which DNS forbids to keep an answer, from one
	// that is not known: that of /etc/hosts, of a literal address, of a failure.
	HasTTL bool
}

// Lookup finds the addresses of a host. The network is "ip", "ip4" or "ip6", as for
// net.Resolver.LookupNetIP, and anything else is a [net.UnknownNetworkError]. Other
// errors are a *[net.DNSError]; IsNotFound, IsTimeout and IsTemporary tell what is
// wrong. The Answer belongs to the caller, and is of use with an error too: for
// [Answer.Refresh].
//
// When the context is done a Lookup returns at once. It may be called by several
// goroutines at a time.
type Lookup func(ctx context.Context, network, host string) (Answer, error)

// The bounds of [Answer.Refresh].
const (
	MinRefresh = 10 * time.Second
	MaxRefresh = time.Hour
)

const (
	untimedRefresh = time.Minute      // addresses without a TTL
	failedRefresh  = 30 * time.Second // no addresses, for a reason that has no TTL
	absentRefresh  = 5 * time.Minute  // no addresses: wait no longer than that
)

// Refresh is how long to wait before the name is asked for again: the TTL, but no
// less than MinRefresh and no more than MaxRefresh, or five minutes where there are
// no addresses. Where the TTL is not known it is a minute with addresses and half a
// minute without.
//
// A random part of up to an eighth is added, so that names which were asked for
// together do not remain together, and it is added rather than taken away because a
// caching name server has nothing new before the TTL is over.
func (a Answer) Refresh() time.Duration {
	d := a.refresh()
	return d + rand.N(d/8+1)
}

func (a Answer) refresh() time.Duration {
	longest, untimed := MaxRefresh, untimedRefresh
	if len(a.Addrs) == 0 {
		longest, untimed = absentRefresh, failedRefresh
	}
	if !a.HasTTL {
		return untimed
	}
	return min(max(a.TTL, MinRefresh), longest)
}

const (
	noSuchHost        = "no such host" // as package net has it
	noSuitableAddress = "no suitable address"
)

// notFound is the error for a host that has no address.
func notFound(host, why string) *net.DNSError {
	return &net.DNSError{Err: why, Name: host, IsNotFound: true}
}
