package codec

import "net/netip"

// Message is an ICMP message of any [Type], in ICMPv4 and ICMPv6 alike. A type
// has the fields that are said to be its own: Decode leaves the others zero, and
// Append ignores them.
type Message struct {
	Type Type
	// Code says more about the type; Type.NameV4 and Type.NameV6 tell what.
	Code uint8

	// ID and Seq are the identifier and the sequence number of echo, timestamp and
	// extended echo. Extended echo has sequence numbers up to 255 only.
	ID, Seq uint16
	// Data is the payload of echo and what follows the header of an extended echo
	// reply (Linux sends the request's extensions back).
	Data []byte

	// MTU is the size in bytes of the largest packet that fits the next link, of
	// PacketTooBig and, in ICMPv4, DestinationUnreachable with code
	// FragmentationNeededV4. Routers that do not know RFC 1191 send 0.
	MTU uint32
	// Pointer is the offset in bytes, in the packet that Quote is from, of what is
	// wrong with it: of ParameterProblem. In ICMPv4 it is at most 255.
	Pointer uint32
	// Gateway is the better next hop, of Redirect: what RFC 4861 calls the target.
	Gateway netip.Addr
	// Destination is the address that Gateway is better for, of Redirect in
	// ICMPv6. In ICMPv4 it stands in Quote alone.
	Destination netip.Addr

	// Originate, Receive and Transmit are the times of TimestampRequest and
	// TimestampReply: when the request left its sender, when it arrived, and when
	// the reply left.
	Originate, Receive, Transmit Timestamp

	// Local is of ExtendedEchoRequest: the interface asked for is one of the node
	// that is asked, not of one of its neighbours.
	Local bool
	// Interface is of ExtendedEchoReply: how the interface asked for is.
	Interface Interface

	// Quote is the beginning of the packet that an error or a redirect is about,
	// from its IP header on, for QuoteV4 or QuoteV6 to decode. It has zeros behind
	// where Extensions follow (RFC 4884, 4), and in an ICMPv6 Redirect. Send as much
	// as there is up to MaxQuoteV4 or MaxQuoteV6, less what Extensions and the
	// addresses of a redirect take; Append takes more.
	Quote []byte
	// Extensions is an extension structure for [Extensions] to decode, if there is
	// one: of DestinationUnreachable, TimeExceeded, ParameterProblem (in ICMPv4
	// only) and ExtendedEchoRequest (RFC 4884, 4; RFC 8335, 2).
	//
	// Routers older than RFC 4884 do not tell where a structure begins. Decode then
	// takes all for the quote, and the structure, if there is one, is Quote[128:], in
	// ICMPv4 and ICMPv6 alike (RFC 4884, 5.5). Since it may as well be the rest of the
	// packet, believe in it only if Extensions.Decode does and its checksum, the two
	// bytes from Quote[130] on, is not zero.
	Extensions []byte
}

// How many bytes an error that is sent should quote at most, so that it fits the
// smallest packet that everybody takes.
const (
	// MaxQuoteV4 is what is left of 576 bytes (RFC 1812, 4.3.2.3).
	MaxQuoteV4 = 576 - ipv4HeaderLen - headerLen
	// MaxQuoteV6 is what is left of the smallest MTU, 1280 bytes (RFC 4443, 2.4 (c)).
	MaxQuoteV6 = 1280 - ipv6HeaderLen - headerLen
)

// Interface is the state of an interface as an extended echo reply tells it (RFC
// 8335, 3).
type Interface struct {
	// State is that of a neighbour in the node's tables, if the interface is not
	// the node's own: 1 incomplete, 2 reachable, 3 stale, 4 delay, 5 probe, 6
	// failed. It is at most 7.
	State uint8
	// Active is whether the interface is, if it is the node's own. IPv4 and IPv6
	// are whether those protocols run on it.
	Active, IPv4, IPv6 bool
}
