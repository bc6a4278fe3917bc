package prober_test

import (
	"errors"
	"net/netip"
	"slices"
	"syscall"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/stats"
)

// input is what the peer answers the first probe with, and what the prober is to
// make of it in each column of the matrix.
type input struct {
	name string
	// now is sent at once, after once a later probe has been answered, and late
	// once the first probe has ended.
	now, after, late func(*request) [][]byte
	// want has the counters in the columns raw, ping and framed of IPv4, and the
	// same of IPv6: "reply duplicate*3" for instance, and "forged+" for one or
	// more. Those that are not named stay as they are. "kernel" stands for what
	// the kernel discards, by itself or by the prober's filter, so that it is a timeout
	// or what follows it; "" is for what does not exist.
	want  [6]string
	cfg   func(*prober.Config, *cell)         // changes what is probed, or how
	begin func(*prober.Prober, *cell)         // is called before the start
	check func(*request, *prober.Result) bool // of the first result that is about an answer
}

func everywhere(s string) [6]string { return [6]string{s, s, s, s, s, s} }
func byTransport(raw, ping, framed string) [6]string {
	return [6]string{raw, ping, framed, raw, ping, framed}
}
func only4(raw, ping, framed string) [6]string { return [6]string{raw, ping, framed, "", "", ""} }
func only6(raw, ping, framed string) [6]string { return [6]string{"", "", "", raw, ping, framed} }

// send is an answer of one packet.
func send(packet func(*request) []byte) func(*request) [][]byte {
	return func(r *request) [][]byte { return [][]byte{packet(r)} }
}

// sendReply is an answer of one changed reply.
func sendReply(change ...func(*echo)) func(*request) [][]byte {
	return send(func(r *request) []byte { return r.reply(change...) })
}

// sendSealed is a reply that was changed after its checksum was made.
func sendSealed(change func(message []byte)) func(*request) [][]byte {
	return send(func(r *request) []byte { return r.replySealed(change) })
}

// with changes the data of a reply.
func with(change func(data []byte) []byte) func(*echo) {
	return func(e *echo) { e.data = change(e.data) }
}

// cookieSize is how much of the data the prober does not choose.
const cookieSize = 8

// inputs is the matrix.
func inputs() []input { return slices.Concat(replies(), icmpErrors(), localOutcomes()) }

// localOutcomes are no matter of the peer.
func localOutcomes() []input {
	return []input{
		{name: "no route", want: everywhere("send_error"), cfg: noRoute,
			check: func(r *request, got *prober.Result) bool { return errors.Is(got.Err, syscall.EHOSTUNREACH) }},
		{name: "a full receive buffer", want: [6]string{"local_drop forged+", "local_drop forged+", "local_drop", "local_drop forged+", "local_drop forged+", "local_drop"},
			cfg: func(_ *prober.Config, c *cell) { c.recvBuffer = 1 }, now: flood},
	}
}

// noRoute has the first probe fail, as there is no route until then.
func noRoute(_ *prober.Config, c *cell) {
	if c.pipe != nil {
		c.pipe.errs = []error{syscall.EHOSTUNREACH}
		return
	}
	remove := c.unreachable(netip.PrefixFrom(c.target, c.target.BitLen()))
	c.onResult = func(r *prober.Result) {
		if r.Outcome == stats.SendError {
			remove()
		}
	}
}

// flood is more than the receive buffer holds, and the reply, for which there is no
// room.
func flood(r *request) [][]byte {
	if r.pipe != nil {
		r.pipe.dropped++
		return nil
	}
	b := r.reply(with(func(d []byte) []byte {
		d = slices.Concat(d, make([]byte, 1200-len(d)))
		for i := range cookieSize {
			d[i] ^= 0xFF
		}
		return d
	}))
	return append(slices.Repeat([][]byte{b}, 100), r.reply())
}

// ipLen is the length of a packet with so many bytes of ICMP message.
func (r *request) ipLen(message int) int { return r.header() + message }

// pattern is n bytes that differ from their neighbours.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}
