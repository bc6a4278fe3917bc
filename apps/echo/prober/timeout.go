package prober

import "time"

// await waits for the reply to a probe that was sent at now.
func (p *Prober) await(pr probe, now time.Duration) {
	*p.slot(pr) = slot{sent: now, seq: pr.seq, state: awaited}
	p.targets[pr.target].stats.Sent++
	if p.waiting.push(pr); p.waiting.n == 1 {
		p.arm()
	}
}

// trim drops what is no longer awaited from the front of the queue. A probe that
// is in it still has its slot: the first one has not been given up, and there
// are more slots than probes until then.
func (p *Prober) trim() {
	for p.waiting.n > 0 && p.slot(p.waiting.front()).state != awaited {
		p.waiting.pop()
	}
}

// arm makes the loop call expire when the first probe that waits has waited long
// enough. All wait equally long, so it is the first of all. When it is answered
// the timer stays as it is, and is armed anew only when it has fired.
func (p *Prober) arm() {
	if p.stopped || p.waiting.n == 0 {
		return
	}
	after := p.cfg.Timeout - (p.elapsed() - p.slot(p.waiting.front()).sent)
	if p.expiry == nil {
		p.expiry = p.l.AfterFunc(after, p.expire)
	} else {
		p.expiry.Reset(after)
	}
}

// expire gives up the probes that have waited long enough.
func (p *Prober) expire() {
	for now := p.elapsed(); p.waiting.n > 0 && !p.stopped; {
		pr := p.waiting.front()
		s := p.slot(pr)
		if now-s.sent < p.cfg.Timeout {
			break
		}
		s.state = givenUp
		p.trim()
		p.targets[pr.target].stats.Lost++
		p.result(Result{Outcome: Timeout, Target: int(pr.target), Seq: pr.seq})
	}
	p.arm()
	p.finish()
}

// queue is a first-in-first-out queue in a ring that grows as needed.
type queue struct {
	ring  []probe // its length is a power of two
	first int
	n     int
}

func (q *queue) front() probe { return q.ring[q.first] }

func (q *queue) push(pr probe) {
	if q.n == len(q.ring) {
		grown := make([]probe, max(64, 2*len(q.ring)))
		copy(grown[copy(grown, q.ring[q.first:]):], q.ring[:q.first])
		q.ring, q.first = grown, 0
	}
	q.ring[(q.first+q.n)&(len(q.ring)-1)] = pr
	q.n++
}

func (q *queue) pop() {
	q.first = (q.first + 1) & (len(q.ring) - 1)
	q.n--
}
