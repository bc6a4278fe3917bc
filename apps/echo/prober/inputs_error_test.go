package prober_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"iomux/apps/echo/prober"
)

// icmpErrors are inputs that tell of something else than a reply.
func icmpErrors() []input {
	all := []input{
		{name: "time exceeded on its way", want: everywhere("icmp_error"), now: sendError(exceeded, 0, 0), check: says(exceeded, 0, 0)},
		{name: "time exceeded in reassembly", want: [6]string{"icmp_error", "kernel", "icmp_error", "icmp_error", "icmp_error", "icmp_error"}, now: sendError(exceeded, 1, 0), check: says(exceeded, 1, 0)},
		{name: "parameter problem", want: everywhere("icmp_error"), now: sendError(parameter, 0, 0), check: says(parameter, 0, 0)},
		{name: "redirect", want: [6]string{"timeout stray", "timeout stray", "timeout stray", "kernel", "kernel", "timeout stray"},
			now: send(func(r *request) []byte {
				gateway := r.nobody().AsSlice()
				if r.v6 {
					body := slices.Concat(gateway, r.dst.AsSlice())
					return r.error(redirect, 0, 0, body)
				}
				return r.error(redirect, 1, binary.BigEndian.Uint32(gateway), r.quote(wholeQuote))
			})},
		{name: "source quench", want: only4("timeout stray", "timeout stray", "timeout stray"), now: sendError(quench, 0, 0)},
		{name: "the same error twice", want: everywhere("icmp_error"),
			now: func(r *request) [][]byte {
				b := r.error(unreachable, 1, 0, r.quote(wholeQuote))
				return [][]byte{b, b}
			}},
		{name: "an error about a probe that was answered", want: everywhere("reply"),
			now: func(r *request) [][]byte { return [][]byte{r.reply(), r.error(unreachable, 1, 0, r.quote(wholeQuote))} }},
		{name: "an error about a foreign identifier", want: byTransport("kernel", "kernel", "timeout stray"),
			now: send(func(r *request) []byte {
				return r.error(unreachable, 1, 0, r.quote(wholeQuote, func(b []byte) { b[r.ipLen(4)] ^= 1 }))
			})},
		{name: "an error with a forged cookie", want: everywhere("timeout forged"),
			now: send(func(r *request) []byte {
				return r.error(unreachable, 1, 0, r.quote(wholeQuote, func(b []byte) { b[r.ipLen(echoHeader)] ^= 0xFF }))
			})},
		{name: "an error with a bad checksum", want: [6]string{"timeout stray", "kernel", "timeout stray", "kernel", "kernel", "timeout stray"},
			now: send(func(r *request) []byte {
				b := r.error(unreachable, 1, 0, r.quote(wholeQuote))
				b[r.ipLen(2)] ^= 1
				return b
			})},

		// Quotes.
		{name: "quote for another destination", want: everywhere("timeout forged"),
			now: send(func(r *request) []byte {
				return r.error(unreachable, 1, 0, r.quote(wholeQuote, func(b []byte) { b[r.header()-1] ^= 1 }))
			})},
		{name: "quote with changed TTL and TOS", want: everywhere("icmp_error"),
			now: send(func(r *request) []byte {
				return r.error(exceeded, 0, 0, r.quote(wholeQuote, func(b []byte) {
					if r.v6 {
						b[0], b[1], b[7] = 0x6A, 0xB0, 0
					} else {
						b[1], b[8] = 0xFF, 0
					}
				}))
			})},
		{name: "quote of 8 bytes of the message", want: everywhere("icmp_error"),
			now: send(func(r *request) []byte { return r.error(exceeded, 0, 0, r.quote(8)) })},
		{name: "quote truncated in the message", want: byTransport("kernel", "kernel", "timeout stray"),
			now: send(func(r *request) []byte { return r.error(exceeded, 0, 0, r.quote(5)) })},
		{name: "quote truncated in the header", want: byTransport("kernel", "kernel", "timeout stray"),
			now: send(func(r *request) []byte { return r.error(exceeded, 0, 0, r.quote(0)[:19]) })},
		{name: "no quote", want: byTransport("kernel", "kernel", "timeout stray"),
			now: send(func(r *request) []byte { return r.error(exceeded, 0, 0, nil) })},
		// The kernel does not look at the version, so that it reports the error. A raw
		// socket has the message besides.
		{name: "quote of another IP version", want: byTransport("icmp_error stray", "icmp_error", "timeout stray"),
			now: send(func(r *request) []byte {
				return r.error(exceeded, 0, 0, r.quote(wholeQuote, func(b []byte) { b[0] ^= 0x20 }))
			})},
		{name: "quote with header length 15", want: only4("icmp_error", "icmp_error", "icmp_error"),
			now: send(func(r *request) []byte {
				q := r.quote(wholeQuote)
				q = slices.Concat(q[:header4], bytes.Repeat([]byte{1}, 40), q[header4:])
				q[0] = 0x4F
				return r.error(exceeded, 0, 0, q)
			})},
		{name: "quote with header length 15 and no options", want: only4("kernel", "kernel", "timeout stray"),
			now: sendError(exceeded, 0, 0, func(b []byte) { b[0] = 0x4F })},
		{name: "quote with header length 15, cut off", want: only4("kernel", "kernel", "timeout stray"),
			now: send(func(r *request) []byte {
				return r.error(exceeded, 0, 0, r.quote(8, func(b []byte) { b[0] = 0x4F }))
			})},
		{name: "quote with header length 0", want: only4("kernel", "kernel", "timeout stray"),
			now: sendError(exceeded, 0, 0, func(b []byte) { b[0] = 0x40 })},
		{name: "quote with extensions", want: everywhere("icmp_error"), now: send(extended(true)), check: says(exceeded, 0, 0)},
		{name: "quote with extensions and no length", want: everywhere("icmp_error"), now: send(extended(false))},
		{name: "quote with a length beyond the message", want: everywhere("icmp_error"),
			now: send(func(r *request) []byte {
				return r.error(exceeded, 0, pick[uint32](r.v6, 0x00FF0000, 0xFF000000), r.quote(wholeQuote))
			})},
	}
	for code := range byte(16) {
		in := input{name: fmt.Sprintf("unreachable, code %d", code), want: everywhere("icmp_error"), now: sendError(unreachable, code, 0),
			check: says(unreachable, code, 0)}
		all = append(all, in)
	}
	for _, mtu := range []uint32{0, 68, 1300} {
		all = append(all, input{name: fmt.Sprintf("fragmentation needed, MTU %d", mtu), want: everywhere("icmp_error"),
			now: func(r *request) [][]byte {
				return [][]byte{r.error(tooBig, pick[byte](r.v6, 4, 0), mtu, r.quote(wholeQuote))}
			},
			check: func(r *request, got *prober.Result) bool { return says(tooBig, pick[byte](r.v6, 4, 0), mtu)(r, got) }})
	}
	return all
}

// sendError is an ICMP error about the request.
func sendError(k kind, code byte, word uint32, change ...func(packet []byte)) func(*request) [][]byte {
	return send(func(r *request) []byte { return r.error(k, code, word, r.quote(wholeQuote, change...)) })
}

// says checks what a Result tells of an ICMP error.
func says(k kind, code byte, mtu uint32) func(*request, *prober.Result) bool {
	return func(r *request, got *prober.Result) bool {
		return got.Type == pick(r.v6, k[0], k[1]) && got.Code == code && got.MTU == mtu && got.From == r.router() && got.RTT == 0
	}
}

// extended is an error with an MPLS label stack behind 128 bytes of quote (RFC
// 4884, RFC 4950).
func extended(length bool) func(*request) []byte {
	return func(r *request) []byte {
		q := r.quote(wholeQuote)
		q = append(q, make([]byte, 128-len(q))...)
		q = append(q, 0x20, 0, 0, 0, 0, 8, 1, 1, 0, 1, 0x21, 0x01)
		binary.BigEndian.PutUint16(q[130:], onesComplement(q[128:]))
		word := uint32(0)
		if length {
			word = pick[uint32](r.v6, 128/4<<16, 128/8<<24)
		}
		return r.error(exceeded, 0, word, q)
	}
}
