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

// Judged is the number of probes of which it is known what the network did with them:
// those that brought any answer, and those that timed out.
func (c Counts) Judged() uint64 {
	return c.Received() + c.Of[Corrupt] + c.Of[Truncated] + c.Of[ICMPError] + c.Of[Timeout]
}

// Loss is the share of those Judged that brought no good answer, from 0 to 1; 0 if there
// are none. That is the packet loss of ping(8), and of RFC 2680, by which a damaged
// packet is a lost one. A probe in flight is not lost yet, and one that did not leave
// this host, or whose answer this host may have dropped, says nothing about the network.
// Of[Timeout] are those lost without a word.
func (c Counts) Loss() float64 {
	judged := c.Judged()
	return share(judged-c.Received(), judged)
}

// Unanswered is the share of the finished probes that brought no good answer for
// any reason, from 0 to 1; 0 if none has finished. It is more than Loss where this host
// has failed.
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
