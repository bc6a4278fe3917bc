package responder

import (
	"time"

	"iomux/mux"
	"iomux/transport"
)

// outgoing is a batch of answers that is being sent.
type outgoing struct {
	ms     []transport.Message
	marks  []mark
	mixed  bool // a mark says something
	at     int  // the answer that is to be sent next
	copied int  // how many times it was
	window []transport.Message
}

func (o *outgoing) begin(ms []transport.Message, marks []mark, mixed bool) {
	o.ms, o.marks, o.mixed, o.at, o.copied = ms, marks, mixed, 0, 0
}

// waits tells whether something is still to be sent.
func (o *outgoing) waits() bool { return o.at < len(o.ms) }

// unsent returns how many answers were not sent, copies apart.
func (o *outgoing) unsent() int {
	n := len(o.ms) - o.at
	if o.copied > 0 {
		n--
	}
	return n
}

// next returns what can be sent by one call, and whether that is by Config.Forge.
func (o *outgoing) next() (ms []transport.Message, forged bool) {
	if !o.mixed {
		return o.ms[o.at:], false
	}
	if o.window == nil {
		o.window = make([]transport.Message, 0, max(len(o.marks), 1))
	}
	forged = o.marks[o.at].forged
	w, copied := o.window[:0], o.copied
	for i := o.at; i < len(o.ms) && o.marks[i].forged == forged; i++ {
		for ; copied <= int(o.marks[i].copies) && len(w) < cap(w); copied++ {
			w = append(w, o.ms[i])
		}
		copied = 0
	}
	return w, forged
}

// sent counts the next n as sent, or as refused.
func (o *outgoing) sent(n int, ok bool, s *Stats) {
	if !o.mixed {
		o.at += n
		if ok {
			s.Answered += uint64(n)
		} else {
			s.SendErrors += uint64(n)
		}
		return
	}
	for range n {
		k := &o.marks[o.at]
		switch {
		case o.copied > 0 && ok:
			s.Duplicated++
		case o.copied > 0:
			s.CopiesLost++
		case !ok:
			s.SendErrors++
		case k.failed:
			s.Errors++
		default:
			s.Answered++
		}
		if o.copied++; o.copied > int(k.copies) {
			o.at, o.copied = o.at+1, 0
		}
	}
}

// forgePause is how long to wait for room in Config.Forge, which is not watched.
const forgePause = time.Millisecond

// send sends what is outgoing. While the transport would block it waits for it
// to become writable, and receives nothing: the requests queue in the kernel.
func (r *Responder) send() {
	o := &r.outgoing
	for o.waits() {
		ms, forged := o.next()
		t := r.t
		if forged {
			t = r.cfg.Forge
		}
		n, err := t.Send(ms)
		switch {
		case err != nil:
			o.sent(1, false, &r.stats)
		case n > 0:
			o.sent(n, true, &r.stats)
		case forged:
			r.wait(0)
			r.armFor(forgePause)
			return
		default:
			r.wait(mux.Writable)
			return
		}
	}
	r.wait(mux.Readable)
	r.arm()
}
