package outside

import (
	"encoding/binary"
	"net/netip"
	"time"

	"iomux/codec"
	"iomux/transport"
)

// Answer is a packet as it was seen on the interface. It is valid during the call.
type Answer struct {
	Request bool // it is no answer
	Error   bool // it is an ICMP error
	// Number is that of the request; of an error too, if it quotes as much.
	Number   uint32
	From, To netip.Addr
	TTL, TOS uint8
	Message  []byte    // the ICMP message
	Right    bool      // its checksum is
	Time     time.Time // when the kernel received it
}

// Data returns the data of a reply, or what an error quotes.
func (a *Answer) Data() []byte { return a.Message[8:] }

// parse reads a packet, and tells whether it is ICMP that is not the kernel's own, such
// as neighbour discovery.
func (a *Answer) parse(m *transport.Message) bool {
	b := m.Bytes()
	*a = Answer{Time: m.Time}
	var request, reply byte
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		n := min(int(binary.BigEndian.Uint16(b[2:])), len(b))
		header := 4 * int(b[0]&0xf)
		if n < header+8 {
			return false
		}
		a.From, a.To = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
		a.TTL, a.TOS, a.Message = b[8], b[1], b[header:n]
		a.Right = codec.Checksum(a.Message) == 0 && codec.Checksum(b[:header]) == 0
		request, reply = 8, 0
	case len(b) >= 48 && b[0]>>4 == 6:
		n := min(40+int(binary.BigEndian.Uint16(b[4:])), len(b))
		if n < 48 || b[40] >= 133 && b[40] <= 136 || b[40] == 143 || b[40] == 130 {
			return false
		}
		a.From, a.To = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
		a.TTL, a.TOS, a.Message = b[7], byte(binary.BigEndian.Uint16(b)>>4), b[40:n]
		pseudo := append([]byte(nil), b[8:40]...)
		pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(n-40))
		pseudo = append(pseudo, 0, 0, 0, 58)
		a.Right = codec.Checksum(append(pseudo, a.Message...)) == 0
		request, reply = 128, 129
	default:
		return false
	}
	a.Request, a.Error = a.Message[0] == request, a.Message[0] != request && a.Message[0] != reply
	number := a.Message[4:]
	if a.Error {
		quote := a.Data()
		header := 40
		if len(quote) > 0 && quote[0]>>4 == 4 {
			header = 4 * int(quote[0]&0xf)
		}
		if len(quote) < header+8 {
			return true
		}
		number = quote[header+4:]
	}
	a.Number = binary.BigEndian.Uint32(number)
	return true
}
