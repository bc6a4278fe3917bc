package stats

// Counts says how many probes were sent, and how many outcomes of each kind there
// were.
type Counts struct {
	// Sent counts the probes handed to the kernel. One that ended in SendError is
	// not among them.
	Sent uint64
	// Of holds the number of each outcome: c.Of[stats.Timeout].
	Of [Outcomes]uint64
}

// Add adds the counts of others.
func (c *Counts) Add(others Counts) {
	c.Sent += others.Sent
	for o, n := range others.Of {
		c.Of[o] += n
	}
}

// Received is the number of probes that were answered in time, complete and
// unaltered, in order or not: Reply and Reordered.
func (c Counts) Received() uint64 { return c.Of[Reply] + c.Of[Reordered] }

// Finished is the number of probes that have ended, whatever became of them.
func (c Counts) Finished() uint64 {
	var n uint64
	for o := range Outcomes {
		if o.Final() {
			n += c.Of[o]
		}
	}
	return n
}

// InFlight is the number of probes sent that have not ended.
func (c Counts) InFlight() uint64 {
	ended := c.Finished() - c.Of[SendError]
	return c.Sent - min(ended, c.Sent)
}

// Judged is the number of probes of which it is known whether the network lost
// them: those that brought any answer, and those that timed out.
func (c Counts) Judged() uint64 {
	return c.Received() + c.Of[Corrupt] + c.Of[Truncated] + c.Of[ICMPError] + c.Of[Timeout]
}

// Loss is the share of those Judged that the network lost, from 0 to 1; 0 if there
// are none. A probe that did not leave this host, or whose answer this host may
// have dropped, says nothing about the network.
func (c Counts) Loss() float64 { return share(c.Of[Timeout], c.Judged()) }

// Unanswered is the share of the finished probes that brought no good answer for
// any reason, from 0 to 1; 0 if none has finished. Loss says how the network does,
// this says whether the target answers: a host that a router reports as
// unreachable has no loss and is unanswered to 100 %.
func (c Counts) Unanswered() float64 {
	finished := c.Finished()
	return share(finished-c.Received(), finished)
}

func share(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
