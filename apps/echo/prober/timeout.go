package prober

import (
	"errors"
	"time"

	"iomux/apps/echo/prober/stats"
)

// All probes of a path wait equally long, so they are given up in the order of
// sending, which is that of its ledger.

// expire gives up the probes that have waited long enough, and forgets old ones.
func (w *path) expire() {
	p := w.p
	w.armed = false
	now := p.elapsed()
	w.countDrops(now)
	for !p.stopped && w.ledger.advance() {
		pr := w.ledger.at(w.ledger.head)
		if now-pr.sent < p.cfg.Timeout {
			break
		}
		if pr.state == queued {
			w.abandon(pr)
		} else {
			w.giveUp(pr)
		}
	}
	w.forget(now)
	w.arm()
	p.pump()
}

// countDrops asks how many packets the kernel has dropped on the way to us.
func (w *path) countDrops(now time.Duration) {
	w.asked = now
	if w.drops == nil {
		return
	}
	d, err := w.drops.Dropped()
	if err != nil || d == w.dropped {
		return
	}
	n := uint64(d - w.dropped)
	w.dropped = d
	if w.v6 && !w.ping {
		// There the kernel counts what has a bad checksum as well, and anybody can send
		// that.
		if bad, err := badChecksums(); err == nil {
			n -= min(n, bad-min(bad, w.damaged))
			w.damaged = bad
		}
	}
	if n > 0 {
		w.lost += n
		w.lately = now
	}
}

var errNoRoom = errors.New("the transport has had no room for it for a whole timeout")

// abandon ends a probe that could not be sent for a Timeout: the first one in the
// batch. From then on the other path does not wait for this one.
func (w *path) abandon(pr *probe) {
	w.stuck = true
	if w.at++; w.at == w.n {
		w.at, w.n = 0, 0
	}
	w.refused(pr, errNoRoom)
}

// giveUp ends the probe at the head, which has waited long enough. Where the kernel has dropped
// packets since it was sent, as many probes as that are not lost by the network as
// far as anybody can tell. That a probe has no transmit stamp tells nothing: not every
// device makes stamps, and what waits for a neighbour that is not there has none either.
func (w *path) giveUp(pr *probe) {
	p := w.p
	if why, ok := w.doubts[w.ledger.head]; ok {
		delete(w.doubts, w.ledger.head)
		w.fail(pr, why)
		return
	}
	w.end(pr, ended)
	r := &p.res
	*r = Result{Outcome: stats.Timeout, Last: true}
	if pr.sent >= w.lately {
		w.lost = 0
	}
	if w.lost > 0 {
		w.lost--
		r.Outcome = stats.LocalDrop
	}
	p.identify(r, pr)
	if int(pr.try) < p.cfg.Retries {
		r.Last = false
		p.again.push(pr, p.elapsed())
	}
	p.finished(pr, r)
}

// arm makes the loop call expire when the first probe that has not ended has waited
// long enough. When it is answered the timer stays as it is.
func (w *path) arm() {
	if w.armed || w.p.stopped || !w.ledger.advance() {
		return
	}
	w.armed = true
	waited := w.p.elapsed() - w.ledger.at(w.ledger.head).sent
	w.expiry.Reset(w.p.cfg.Timeout - waited)
}

const (
	// maxHeld is how many probes that have ended are remembered at the most. An answer
	// to one that is forgotten is Late, and nothing tells any more to which target. More
	// would not fit into the processor's caches: four times as many take a twentieth
	// more time.
	maxHeld = 1 << 16
	// remembered is for how many Timeouts after it was sent a probe is remembered.
	remembered = 3
)

// forget drops pages of probes that have all ended, if they are old or many.
func (w *path) forget(now time.Duration) {
	l := &w.ledger
	for l.advance(); l.head >= l.first+pageSize; {
		newest := l.at(l.first + pageSize - 1)
		if l.held() <= maxHeld && now-newest.sent < remembered*w.p.cfg.Timeout {
			return
		}
		l.forget()
	}
}
