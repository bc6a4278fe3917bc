package hostile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Verdict is what becomes of a packet.
type Verdict int

const (
	Never Verdict = iota // an answer would be wrong
	May                  // it is a request with options or extension headers
	Must                 // it is a faultless request
)

// String returns the word.
func (v Verdict) String() string { return [...]string{"never", "may", "must"}[v] }

// Parts is what a packet says.
type Parts struct {
	From, To netip.Addr
	Type     uint8
	ID, Seq  uint16
	Data     []byte
	Len      int // of the packet, in bytes, without padding
	plain    bool
}

// Parse reads a packet with an ICMP message, and says what is wrong with it.
func Parse(b []byte) (p Parts, err error) {
	var m []byte
	bad := errors.New
	switch {
	case len(b) >= 40 && b[0]>>4 == 6:
		p.Len = 40 + int(binary.BigEndian.Uint16(b[4:]))
		if p.Len > len(b) {
			return p, bad("cut short")
		}
		p.From, p.To = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		m = b[40:p.Len]
		next := b[6]
		p.plain = next == icmp6
		for next != icmp6 {
			switch next {
			case hopByHop, routing, fragment, destination:
			default:
				return p, fmt.Errorf("next header %d", next)
			}
			if len(m) < 8 {
				return p, bad("an extension header is cut short")
			}
			size := 8 * (1 + int(m[1]))
			if next == fragment {
				if size = 8; binary.BigEndian.Uint16(m[2:])&^6 != 0 {
					return p, bad("a fragment")
				}
			}
			if size > len(m) {
				return p, bad("an extension header is cut short")
			}
			next, m = m[0], m[size:]
		}
		if len(m) >= 8 && sum6([16]byte(b[8:24]), [16]byte(b[24:40]), m) != 0xffff {
			return p, bad("bad checksum")
		}
	case len(b) >= 20 && b[0]>>4 == 4:
		n := 4 * int(b[0]&15)
		p.Len = int(binary.BigEndian.Uint16(b[2:]))
		switch {
		case n < 20 || p.Len < n || p.Len > len(b):
			return p, bad("impossible lengths")
		case sum(0, b[:n]) != 0xffff:
			return p, bad("bad header checksum")
		case binary.BigEndian.Uint16(b[6:])&0x3fff != 0:
			return p, bad("a fragment")
		case b[9] != 1:
			return p, fmt.Errorf("protocol %d", b[9])
		}
		p.From, p.To = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		p.plain = n == 20
		if m = b[n:p.Len]; len(m) >= 8 && sum(0, m) != 0xffff {
			return p, bad("bad checksum")
		}
	default:
		return p, bad("no IP packet")
	}
	if len(m) < 8 {
		return p, bad("no ICMP header")
	}
	p.Type, p.ID, p.Seq, p.Data = m[0], binary.BigEndian.Uint16(m[4:]), binary.BigEndian.Uint16(m[6:]), m[8:]
	return p, nil
}

// Forbidden tells whether an address is none that an answer may go to, or come from.
func (t *Traffic) Forbidden(a netip.Addr) bool {
	return !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a.Is4In6() ||
		a.Is4() && (a.As4()[0] == 0 || a.As4() == [4]byte{255, 255, 255, 255}) || slices.Contains(t.cfg.Victims, a)
}

// Verdict tells what may become of a packet.
func (t *Traffic) Verdict(packet []byte) Verdict {
	p, err := Parse(packet)
	switch {
	case err != nil || p.Type != requestType(p.From) || t.Forbidden(p.From) || t.Forbidden(p.To) || p.From == p.To || slices.Contains(t.cfg.Own, p.From):
		return Never
	case p.plain:
		return Must
	}
	return May
}

func requestType(a netip.Addr) uint8 {
	if a.Is4() {
		return 8
	}
	return 128
}

// Judge says what is wrong with an answer to a packet, nil for none, or with there being
// one or none.
func (t *Traffic) Judge(packet, answer []byte) error {
	v := t.Verdict(packet)
	switch {
	case answer == nil && v == Must:
		return errors.New("there is no answer to a faultless request")
	case answer == nil:
		return nil
	case v == Never:
		return fmt.Errorf("it is answered, by % x", answer[:min(len(answer), 64)])
	}
	q, _ := Parse(packet)
	a, err := t.Reply(answer)
	switch {
	case err != nil:
		return err
	case a.From != q.To || a.To != q.From || a.ID != q.ID || a.Seq != q.Seq || !bytes.Equal(a.Data, q.Data):
		return fmt.Errorf("the answer is another's: %v to %v, id %d, sequence number %d", a.From, a.To, a.ID, a.Seq)
	case a.Len > q.Len:
		return fmt.Errorf("the answer has %d bytes, more than the %d of the request", a.Len, q.Len)
	}
	return nil
}

// Reply reads what was sent, and says why nobody should send that. Faultless
// requests of this package have the length of their data as their identifier, so that one
// can see whether an answer has more.
func (t *Traffic) Reply(answer []byte) (Parts, error) {
	a, err := Parse(answer)
	switch {
	case err != nil:
		return a, fmt.Errorf("%v: % x", err, answer[:min(len(answer), 64)])
	case a.Type != 0 && a.From.Is4() || a.Type != 129 && a.From.Is6():
		return a, fmt.Errorf("an ICMP message of type %d was sent", a.Type)
	case t.Forbidden(a.To) || t.Forbidden(a.From) || a.To == a.From || slices.Contains(t.cfg.Own, a.To):
		return a, fmt.Errorf("a reply went from %v to %v", a.From, a.To)
	case a.Len != len(answer):
		return a, fmt.Errorf("a reply has %d bytes and says %d", len(answer), a.Len)
	}
	return a, nil
}
