package prober

import (
	"bytes"
	"errors"
	"time"

	"iomux/codec"
	"iomux/transport"
)

// receive takes one batch. What is left is reported again.
func (p *Prober) receive() {
	n, err := p.t.Recv(p.in)
	now := p.elapsed()
	if err != nil {
		// One error may pass; one that stays must not keep the loop busy.
		if p.failures++; p.failures == tooMany {
			p.fail(err)
		}
		return
	}
	p.failures = 0
	for i := range p.in[:n] {
		if p.stopped {
			return
		}
		p.match(&p.in[i], now)
	}
	p.finish()
}

// match finds the probe that m answers.
func (p *Prober) match(m *transport.Message, now time.Duration) {
	e := &p.echo
	err := p.codec.Decode(m.Bytes(), e)
	i, known := p.byAddr[m.Peer.Addr()]
	switch {
	case !known, errors.Is(err, codec.ErrType), e.Type == codec.EchoRequest, err == nil && e.ID != p.cfg.ID:
		p.stray++
		return
	case err != nil, e.Code != 0:
		p.corrupt++
		return
	}
	s := p.slot(probe{i, e.Seq})
	if s.state == unused || s.seq != e.Seq {
		p.stray++
		return
	}
	r := Result{Target: int(i), Seq: e.Seq, RTT: now - s.sent, Message: m, Echo: e,
		Altered: !bytes.Equal(e.Data, p.cfg.Data)}
	stats := &p.targets[i].stats
	was := s.state
	s.state = answered
	switch was {
	case awaited:
		r.Outcome = Reply
		stats.reply(r.RTT)
		p.trim()
	case answered:
		r.Outcome = Duplicate
		stats.Duplicates++
	case givenUp:
		r.Outcome = Late
		stats.Late++
	}
	if r.Altered {
		stats.Altered++
	}
	p.result(r)
}
