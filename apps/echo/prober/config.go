package prober

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"time"

	"iomux/codec"
)

// Config says how and what to probe.
type Config struct {
	// Targets are the hosts, each an IPv4 address that occurs once.
	Targets []netip.Addr
	// Count is how many probes each target gets; 0 goes on until Stop.
	Count int
	// Interval is the time between two probes of a target; 0 means a second. A
	// round that takes longer to send, because of many targets or because the
	// transport would block, delays the next one: nothing piles up.
	Interval time.Duration
	// Timeout is how long to wait for a reply; 0 means a second. It bounds the
	// memory: 16 bytes for each of two to four times Timeout/Interval probes of
	// a target. No more than 65,536 can be in flight, for want of sequence
	// numbers.
	Timeout time.Duration
	// Data is sent in each probe, at most codec.MaxEchoDataV4 bytes.
	Data []byte
	// ID is the ICMP identifier of the probes. It tells those of several
	// probers apart; see NewID. On a ping socket the kernel chooses it.
	ID uint16
	// OnResult, if not nil, is called on the loop for each outcome.
	OnResult func(Result)
	// OnDone, if not nil, is called on the loop once every probe has been
	// answered or given up, or could not be sent. Late replies and duplicates
	// are still received afterwards, until Stop.
	OnDone func()
	// OnFailure, if not nil, is called on the loop when the transport keeps
	// failing and the prober has stopped for that reason.
	OnFailure func(error)
	// Clock replaces time.Now; it should be that of the loop.
	Clock func() time.Time
}

func (c *Config) setDefaults() {
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = time.Second
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
}

// check refuses what makes no sense, apart from single targets.
func (c *Config) check() error {
	switch {
	case len(c.Targets) == 0:
		return errors.New("prober: no targets")
	case c.Count < 0:
		return fmt.Errorf("prober: count %d, it must not be negative", c.Count)
	case c.Interval < 0:
		return fmt.Errorf("prober: interval %v, it must be positive", c.Interval)
	case c.Timeout < 0:
		return fmt.Errorf("prober: timeout %v, it must be positive", c.Timeout)
	case len(c.Data) > codec.MaxEchoDataV4:
		return fmt.Errorf("prober: %d bytes of data, at most %d fit a packet", len(c.Data), codec.MaxEchoDataV4)
	case c.inFlight() > maxWindow:
		return fmt.Errorf("prober: with an interval of %v and a timeout of %v, %d probes of a target would be in flight; there are only %d sequence numbers",
			c.Interval, c.Timeout, c.inFlight(), maxWindow)
	}
	return nil
}

// maxWindow is the number of sequence numbers.
const maxWindow = 1 << 16

// inFlight is how many probes of a target may be waiting at the same time: those
// that one timeout sees begin, one that began before and could not be sent at
// once, and one that should have been given up and is late.
func (c *Config) inFlight() uint64 {
	n := uint64(c.Timeout/c.Interval) + 3
	if c.Count > 0 {
		n = min(n, uint64(c.Count))
	}
	return n
}

// window is how many probes of a target to remember, a power of two: twice what
// may be in flight, so that replies which come again or late find their probe.
func (c *Config) window() int {
	n := 2 * c.inFlight()
	if c.Count > 0 {
		n = min(n, uint64(c.Count))
	}
	return min(1<<bits.Len64(n-1), maxWindow)
}
