package prober

import (
	"iomux/codec"
	"iomux/mux"
	"iomux/transport"
)

// tick begins a round, unless the one before is still being sent.
func (p *Prober) tick() {
	if p.sending() {
		return
	}
	if p.left--; p.left == 0 {
		p.ticker.Stop()
	}
	p.seq++
	p.next = 0
	request := codec.Echo{Type: codec.EchoRequest, ID: p.cfg.ID, Seq: p.seq, Data: p.cfg.Data}
	var err error
	if p.request, err = p.codec.Append(p.request[:0], &request); err != nil {
		p.fail(err)
		return
	}
	p.pump()
}

// sending reports whether a round is being sent.
func (p *Prober) sending() bool { return p.next < len(p.targets) }

// pump sends one batch, and has itself called again when the transport is
// writable if there is more. Replies are received in between: sent all at once,
// a large round would bring more of them than a socket holds.
func (p *Prober) pump() {
	p.send(p.requests())
	want := mux.Readable
	if p.sending() {
		want |= mux.Writable
	}
	p.wait(want)
	p.finish()
}

// requests returns the next batch of the round.
func (p *Prober) requests() []transport.Message {
	n := min(len(p.out), len(p.targets)-p.next)
	for i := range p.out[:n] {
		p.out[i] = transport.Message{Buf: p.request, N: len(p.request), Peer: p.targets[p.next+i].peer}
	}
	return p.out[:n]
}

// send sends messages until the transport would block.
func (p *Prober) send(ms []transport.Message) {
	for len(ms) > 0 && !p.stopped {
		now := p.elapsed()
		n, err := p.t.Send(ms)
		switch {
		case err != nil:
			p.targets[p.next].stats.SendErrors++
			p.result(Result{Outcome: SendError, Target: p.next, Seq: p.seq, Err: err})
			n = 1
		case n == 0:
			return
		default:
			for i := range n {
				p.await(probe{int32(p.next + i), p.seq}, now)
			}
		}
		p.next += n
		ms = ms[n:]
	}
}

// wait changes what the loop waits for.
func (p *Prober) wait(want mux.Interest) {
	if p.stopped || want == p.want {
		return
	}
	if err := p.watch.Set(want); err != nil {
		p.fail(err)
		return
	}
	p.want = want
}
