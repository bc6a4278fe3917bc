package responder

import (
	"net/netip"
	"time"

	"iomux/apps/echo/responder/queue"
	"iomux/transport"
)

// held is an answer that waits until it is due.
type held struct {
	peer     netip.AddrPort
	local    netip.Addr
	ifindex  int
	link     transport.LinkAddr
	ttl, tos uint8
	mark     mark
}

// hold puts an answer aside, if there is room. Its delay counts from when the whole
// batch had arrived, so that it is not early for any request in it.
func (r *Responder) hold(m *transport.Message, delay time.Duration) bool {
	if r.held == nil && !r.allocate() {
		return false
	}
	if !r.looked {
		r.arrived, r.looked = r.time(), true
	}
	v := held{m.Peer, m.Local, m.Ifindex, m.Link, m.TTL, m.TOS, r.mark}
	if !r.held.Push(r.arrived+delay, v, m.Bytes()) {
		return false
	}
	r.stats.Delayed++
	return true
}

// time is the time since the Policy's start.
func (r *Responder) time() time.Duration { return r.l.Time().Sub(r.policy.start) }

func (r *Responder) allocate() bool {
	var err error
	if r.held, err = queue.New[held](r.cfg.QueueItems, r.cfg.QueueBytes); err != nil {
		return false
	}
	r.late, r.lateMark = newBatch(len(r.ms))
	return true
}

// arm sees to it that due is called when the first of what is held is due.
func (r *Responder) arm() {
	if r.held == nil || r.stopped {
		return
	}
	if next, ok := r.held.Next(); ok && (!r.armed || next != r.wake) {
		r.wake = next
		r.armFor(next - r.time())
	}
}

func (r *Responder) armFor(d time.Duration) {
	r.armed = true
	if r.timer == nil {
		r.timer = r.l.AfterFunc(d, r.due)
	} else {
		r.timer.Reset(d)
	}
}

// due sends a batch of what is due. It waits for answers that are being sent: they
// find no room, and neither would these.
func (r *Responder) due() {
	r.armed = false
	o := &r.outgoing
	if o.waits() {
		if o.marks[o.at].forged {
			r.send()
		}
		return
	}
	now := r.l.Now().Sub(r.policy.start)
	n, mixed := 0, false
	for ; n < len(r.late); n++ {
		m := &r.late[n]
		v, b, ok := r.held.Pop(now, m.Buf[:0])
		if !ok {
			break
		}
		*m = transport.Message{Buf: m.Buf, N: len(b), Peer: v.peer, Local: v.local, Ifindex: v.ifindex, Link: v.link, TTL: v.ttl, TOS: v.tos}
		r.lateMark[n] = v.mark
		mixed = mixed || v.mark != mark{}
	}
	o.begin(r.late[:n], r.lateMark, mixed)
	r.send()
}
