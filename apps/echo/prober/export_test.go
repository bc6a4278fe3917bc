package prober

// Asking is how many names are being looked up.
func (p *Prober) Asking() int {
	n := 0
	for _, h := range p.hosts {
		if h.asking {
			n++
		}
	}
	return n
}

// Hosts is how many names are known.
func (p *Prober) Hosts() int { return len(p.hosts) }

// Doubts is how many errors are remembered that may have been made up.
func (p *Prober) Doubts() int {
	n := 0
	for _, w := range p.paths {
		if w != nil {
			n += len(w.doubts)
		}
	}
	return n
}

// Held is how many probes there is memory for.
func (p *Prober) Held() int {
	n := 0
	for _, w := range p.paths {
		if w != nil {
			n += (len(w.ledger.pages) + len(w.ledger.spare)) * pageSize
		}
	}
	return n
}

// Advance begins with another serial number in each path that is open.
func (p *Prober) Advance(serial uint64) {
	for _, w := range p.paths {
		if w != nil {
			w.ledger.first, w.ledger.next, w.ledger.head = serial, serial, serial
		}
	}
}

// Limits of the engine.
const (
	MaxWindow  = maxWindow
	MaxLookup  = maxLookup
	MaxHeld    = maxHeld
	PageSize   = pageSize
	MaxParked  = maxParked
	MaxLookups = maxLookups
	MaxDoubts  = maxDoubts
)
