package prober

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"iomux/apps/echo/prober/resolve"
	"iomux/apps/echo/prober/targets"
	"iomux/codec"
	"iomux/transport"
)

// Config says what to probe and how. The zero value of every field but Targets has
// a meaning.
type Config struct {
	// Targets are the hosts. Each round probes all of them once, in their order.
	Targets *targets.List
	// Count is the number of rounds; 0 goes on until Stop.
	Count uint64
	// Interval is how long a round takes, so that each target is probed once in an
	// Interval: its probes are spread over it. 0 sends as fast as Rate and Window
	// allow.
	Interval time.Duration
	// Rate is the most probes per second, all targets and retries together; 0 is no
	// limit. A round that takes longer than Interval because of it delays the next.
	Rate float64
	// Jitter begins at a random time within the first Interval.
	Jitter bool
	// Window is the most probes in flight, whose fate is not known; 0 is 64 for each
	// target and no more than 262,144. With 1 and no Interval every probe waits for
	// the end of the one before. Where no answers come it lets no more leave than
	// Window in a Timeout.
	Window int
	// Timeout is how long to wait for an answer, a day at the most; 0 is a second. A
	// probe that finds no room in its transport for as long is a SendError.
	Timeout time.Duration
	// Retries is how many further tries a probe has that timed out, and Backoff by
	// what factor each wait for the next try is longer than Timeout was; below 1 it
	// is 1.
	Retries int
	Backoff float64

	// Data is sent in each probe; its first 8 bytes are replaced by a cookie, which
	// tells genuine answers from forged ones, unless it is shorter or Verbatim.
	// Without a cookie the identifier, the sequence number and the source have to do.
	Data     []byte
	Verbatim bool
	// TTL and TOS are those of the probes; 0 is the system's default.
	TTL, TOS uint8
	// Source is the address to send from; the zero Addr leaves it to the kernel.
	Source netip.Addr
	// Interface is the one to send through and receive from, by name.
	Interface string
	// Mark is the firewall mark of the probes (SO_MARK); it needs CAP_NET_ADMIN.
	Mark uint32
	// DontFragment never sends a probe in fragments.
	DontFragment bool
	// Broadcast probes broadcast addresses too, which are skipped otherwise: many may
	// answer one.
	Broadcast bool
	// UserClock measures in user space even where the kernel has time stamps, which
	// take about a microsecond each.
	UserClock bool

	// Network is which addresses names are resolved to: "ip" (or ""), "ip4" or "ip6".
	Network string
	// Lookup resolves names; nil is resolve.System().
	Lookup resolve.Lookup
	// Open opens the transport for the probes of a family, once one is needed; nil is
	// OpenSocket. It returns a transport of its own each time, which the prober closes.
	// One that wraps another has an Unwrap, for the abilities that transport.As finds.
	Open func(Opening) (transport.Transport, error)

	// TargetStats keeps statistics for each target, which also tells reordered
	// answers: 200 bytes for each one, and 512 more from its second answer on.
	TargetStats bool

	// OnResult, if not nil, is called on the loop for each result, which is valid
	// during the call only.
	OnResult func(*Result)
	// OnDone, if not nil, is called on the loop once all rounds are over and no probe
	// is in flight. Late answers and duplicates are still received, until Stop.
	OnDone func()
	// OnFailure, if not nil, is called on the loop when a transport keeps failing and
	// the prober has stopped for that reason.
	OnFailure func(error)
	// Clock replaces time.Now; it should be that of the loop, and never goes back.
	Clock func() time.Time
}

const (
	maxWindow       = 1 << 18
	windowPerTarget = 64
)

func (c *Config) setDefaults() {
	if c.Timeout == 0 {
		c.Timeout = time.Second
	}
	c.Source = c.Source.Unmap()
	if c.Backoff < 1 {
		c.Backoff = 1
	}
	if c.Window == 0 && c.Targets != nil {
		c.Window = int(min(c.Targets.Len(), maxWindow/windowPerTarget) * windowPerTarget)
	}
	if c.Network == "" {
		c.Network = "ip"
	}
	if c.Open == nil {
		c.Open = OpenSocket
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
}

// check reports everything that makes no sense.
func (c *Config) check() error {
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("prober: "+format, args...))
		}
	}
	refuse(c.Targets == nil || c.Targets.Len() == 0, "no targets")
	refuse(c.TargetStats && c.Targets != nil && c.Targets.Len() > maxTargetStats,
		"statistics of more than %d targets", uint64(maxTargetStats))
	refuse(c.Interval < 0, "interval %v, want a positive one, or 0 for none", c.Interval)
	refuse(c.Timeout < 0 || c.Timeout > maxTimeout, "timeout %v, want a positive one of at most %v", c.Timeout, maxTimeout)
	refuse(c.Rate < 0 || math.IsNaN(c.Rate), "rate %v, want a positive one, or 0 for no limit", c.Rate)
	refuse(c.Window < 0 || c.Window > maxWindow, "window %d, want 1 to %d probes in flight", c.Window, maxWindow)
	refuse(c.Retries < 0 || c.Retries > maxRetries, "%d retries, want 0 to %d", c.Retries, maxRetries)
	refuse(c.Backoff > 1000 || math.IsNaN(c.Backoff), "backoff factor %v, want 1 to 1000", c.Backoff)
	refuse(len(c.Data) > codec.MaxEchoDataV4, "%d bytes of data, want at most %d", len(c.Data), codec.MaxEchoDataV4)
	refuse(c.Network != "ip" && c.Network != "ip4" && c.Network != "ip6", "network %q, want ip, ip4 or ip6", c.Network)
	return join(errs...)
}

const (
	maxRetries     = 100
	maxTimeout     = 24 * time.Hour
	maxTargetStats = 1 << 28
)

// errResolving is why a probe is not sent while its name is looked up.
var errResolving = errors.New("the name is still being looked up")
