package codec

import "strconv"

// Type is a type of message that ICMPv4 and ICMPv6 have in common, though they
// number it differently, or that one of them has. The zero value is none.
type Type uint8

const (
	EchoRequest            Type = 1 + iota // RFC 792; RFC 4443, 4.1
	EchoReply                              // RFC 792; RFC 4443, 4.2
	DestinationUnreachable                 // RFC 792; RFC 4443, 3.1
	PacketTooBig                           // RFC 4443, 3.2; in ICMPv4 this is DestinationUnreachable with code FragmentationNeededV4
	TimeExceeded                           // RFC 792; RFC 4443, 3.3
	ParameterProblem                       // RFC 792; RFC 4443, 3.4
	Redirect                               // RFC 792; RFC 4861, 4.5
	SourceQuench                           // RFC 792, ICMPv4 only; not to be sent any more (RFC 6633)
	TimestampRequest                       // RFC 792, ICMPv4 only
	TimestampReply                         // RFC 792, ICMPv4 only
	ExtendedEchoRequest                    // RFC 8335, 2
	ExtendedEchoReply                      // RFC 8335, 3
)

// types has the names of the types and their numbers on the wire, -1 for none.
var types = [...]struct {
	name   string
	v4, v6 int
}{
	0:                      {"", -1, -1},
	EchoRequest:            {"echo request", 8, 128},
	EchoReply:              {"echo reply", 0, 129},
	DestinationUnreachable: {"destination unreachable", 3, 1},
	PacketTooBig:           {"packet too big", -1, 2},
	TimeExceeded:           {"time exceeded", 11, 3},
	ParameterProblem:       {"parameter problem", 12, 4},
	Redirect:               {"redirect", 5, 137},
	SourceQuench:           {"source quench", 4, -1},
	TimestampRequest:       {"timestamp request", 13, -1},
	TimestampReply:         {"timestamp reply", 14, -1},
	ExtendedEchoRequest:    {"extended echo request", 42, 160},
	ExtendedEchoReply:      {"extended echo reply", 43, 161},
}

// typesV4 and typesV6 are the way back from the numbers.
var typesV4, typesV6 = func() (v4, v6 [256]Type) {
	for t, numbers := range types {
		if numbers.v4 >= 0 {
			v4[numbers.v4] = Type(t)
		}
		if numbers.v6 >= 0 {
			v6[numbers.v6] = Type(t)
		}
	}
	return v4, v6
}()

// String returns what the RFCs call the type, "echo request" for instance.
func (t Type) String() string {
	if t == 0 || int(t) >= len(types) {
		return "Type(" + strconv.Itoa(int(t)) + ")"
	}
	return types[t].name
}

// NumberV4 returns the number of the type in ICMPv4, or -1 if it has none.
func (t Type) NumberV4() int {
	if int(t) >= len(types) {
		return -1
	}
	return types[t].v4
}

// NumberV6 returns the number of the type in ICMPv6, or -1 if it has none.
func (t Type) NumberV6() int {
	if int(t) >= len(types) {
		return -1
	}
	return types[t].v6
}
