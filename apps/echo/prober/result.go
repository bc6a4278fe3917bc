package prober

import (
	"strconv"
	"time"

	"iomux/codec"
	"iomux/transport"
)

// Outcome is what became of a probe.
type Outcome uint8

const (
	// Reply: the target answered before the probe was given up.
	Reply Outcome = iota
	// Duplicate: the target answered again.
	Duplicate
	// Late: the target answered after the probe had been given up.
	Late
	// Timeout: no answer came in time, and the probe is given up.
	Timeout
	// SendError: the probe did not leave this host.
	SendError
)

// String returns "reply", "duplicate", "late", "timeout" or "send error".
func (o Outcome) String() string {
	switch o {
	case Reply:
		return "reply"
	case Duplicate:
		return "duplicate"
	case Late:
		return "late"
	case Timeout:
		return "timeout"
	case SendError:
		return "send error"
	}
	return "Outcome(" + strconv.Itoa(int(o)) + ")"
}

// Result is the outcome of a probe. A probe that was answered has further
// results if it is answered again; one that was given up may have a late reply.
type Result struct {
	Outcome Outcome
	Target  int    // index in Config.Targets
	Seq     uint16 // the probe's sequence number on the wire, from 1; 0 follows 65,535
	// RTT is the round-trip time, for replies of all kinds: from before the
	// call that sent the probe's batch to after the one that received the reply.
	// Nothing in the packet has a say in it.
	RTT     time.Duration
	Altered bool  // the reply's data is not that of the probe
	Err     error // for SendError
	// Message is the packet and Echo what it says, for replies of all kinds;
	// valid during the call only.
	Message *transport.Message
	Echo    *codec.Echo
}
