package prober

import (
	"net/netip"
	"time"

	"iomux/apps/echo/prober/stats"
)

// NoTarget is the Target of a Result that belongs to none.
const NoTarget = 1<<64 - 1

// Clock says by which clocks a round-trip time was measured.
type Clock uint8

const (
	// NoClock: there is no round-trip time.
	NoClock Clock = iota
	// Kernel: from when the kernel handed the request to the network device to when
	// it received the reply.
	Kernel
	// User: from before the call that sent the request to after the one that
	// received the reply.
	User
)

// String returns "none", "kernel" or "user".
func (c Clock) String() string { return [...]string{"none", "kernel", "user"}[c] }

// Result is the outcome of a probe, or tells of a message that ended none. Each
// probe that was sent has one final Outcome; it may have a Duplicate, a Late answer
// or one from the WrongSource besides.
type Result struct {
	Outcome stats.Outcome
	Target  uint64     // index in Config.Targets; NoTarget if it is not known
	Name    string     // of the target, "" if it is an address
	Addr    netip.Addr // that was probed; the zero Addr if the name had none
	Number  uint64     // of the target's probes, from 1; retries have that of the first try
	Try     int        // 0 for the first try
	// Last: the probe has ended and no retry follows, so that this is the verdict about
	// this Number.
	Last bool

	// RTT is the round-trip time by Clock, of every kind of answer.
	RTT   time.Duration
	Clock Clock

	From       netip.Addr // who answered or reported; the zero Addr where nobody did
	TTL, TOS   uint8      // of the answer
	Type, Code uint8      // of the ICMP message
	MTU        uint32     // of a link that the probe did not fit, if the ICMPError says
	Size       int        // of the ICMP message in bytes
	// Offset is where the data of a Corrupt answer first differs from what was
	// sent, in bytes; -1 if it does not, or the length is what is wrong.
	Offset int
	// Data is that of the answer; it is valid during the call only.
	Data []byte
	// Err is why a probe did not leave (SendError), or what is wrong with an answer.
	Err error
}
