package responder

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"iomux/apps/echo/responder/queue"
	"iomux/apps/echo/responder/rules"
	"iomux/codec"
	"iomux/transport"
)

// Config says how one [Responder] answers: on one transport, on one loop. The zero
// value answers as RFC 1122, 3.2.2.6, and RFC 4443, 4.2, ask, with the data of the
// request, and with what is safe where sources can be forged.
type Config struct {
	// IPv6 says that the bare messages of the transport are ICMPv6, of which the
	// kernel verifies and fills in the checksum (RFC 3542, 3.1). A transport of IP
	// packets carries both families, whatever this says.
	IPv6 bool
	// Policy is what several responders have in common: rules, the rate of each
	// source, health. nil is one of its own, with the defaults of PolicyConfig.
	Policy *Policy
	// Forge carries the IP packets (transport.IPPacket) that a raw socket cannot
	// send itself, "ip4:raw" or "ip6:raw" for instance: those from the address of
	// another, and ICMPv6 with a bad checksum. It is used for sending only and stays the
	// caller's. Without it the socket is asked to send them all the same if it can be
	// asked, from which addresses of its own result; others count as SendErrors. A
	// transport of IP packets does not need it.
	Forge transport.Transport
	// Broadcast says to answer requests to broadcast and multicast addresses too, from
	// an address of its own: which the kernel chooses or, on a transport of IP packets,
	// a rule. No ICMP error is ever sent about them (RFC 1122, 3.2.2).
	Broadcast bool
	// Data, if not nil, is sent in place of the request's data, at most
	// codec.MaxEchoDataV4 bytes. Where the sources of requests can be forged,
	// much data makes an amplifier for attacks on others.
	Data []byte
	// QueueItems and QueueBytes are the room for delayed answers: how many, and how
	// much they are together, in bytes. 0 is 65,536 and 16 MiB. It is allocated at the
	// first delayed answer. What finds it full is not answered.
	QueueItems, QueueBytes int
	// OnRequest, if not nil, is called on the loop for each request before it
	// is answered.
	OnRequest func(Request)
	// OnAnswer, if not nil, is called on the loop for each request when it is
	// decided what becomes of it.
	OnAnswer func(Answer)
	// OnFailure, if not nil, is called on the loop when the transport is gone for good
	// and the responder has stopped for that reason. Without it, failures show in Stats
	// only.
	OnFailure func(error)
}

const (
	defaultQueueItems = 1 << 16
	defaultQueueBytes = 16 << 20
)

// check reports what cannot be, and fills in defaults.
func (c *Config) check() error {
	if c.QueueItems == 0 {
		c.QueueItems = defaultQueueItems
	}
	if c.QueueBytes == 0 {
		c.QueueBytes = defaultQueueBytes
	}
	switch {
	case len(c.Data) > codec.MaxEchoDataV4:
		return fmt.Errorf("responder: %d bytes of data, at most %d fit a packet", len(c.Data), codec.MaxEchoDataV4)
	case c.QueueItems < 0 || c.QueueItems > queue.MaxItems:
		return fmt.Errorf("responder: room for %d delayed answers, want 1 to %d, or 0 for %d", c.QueueItems, queue.MaxItems, defaultQueueItems)
	case c.QueueBytes < 0 || c.QueueBytes > queue.MaxBytes:
		return fmt.Errorf("responder: room for %d bytes of delayed answers, want 1 to %d, or 0 for %d", c.QueueBytes, queue.MaxBytes, defaultQueueBytes)
	case c.Forge != nil && framing(c.Forge) != transport.IPPacket:
		return errors.New("responder: Config.Forge carries no IP packets; one that does is needed, ip4:raw for instance")
	}
	return nil
}

func framing(t transport.Transport) transport.Framing {
	if f, ok := transport.As[transport.Framer](t); ok {
		return f.Framing()
	}
	return transport.Payload
}

// Request is an echo request as it came in.
type Request struct {
	// Message is the message, or the IP packet, as it was received; it belongs to the
	// responder and must not be changed.
	Message *transport.Message
	// Echo is what it says. Data is valid during the call only.
	Echo *codec.Echo
	// From and To are its addresses, the zero Addr where the transport does not say.
	From, To netip.Addr
	// TTL is its time to live, or hop limit.
	TTL uint8
}

// Answer is what becomes of a request.
type Answer struct {
	From, To netip.Addr // of the request
	ID, Seq  uint16     // of the request
	Size     int        // of the request's data, in bytes
	Outcome  Outcome
	// Decision is what the rules said, valid during the call only; nil if they were not
	// asked. An answer that has a Delay is sent when that has passed.
	Decision *rules.Decision
}

// Outcome is what becomes of a request.
type Outcome uint8

const (
	Replied    Outcome = iota // a reply is sent, at once or later
	Errored                   // an ICMP error is sent, at once or later
	Silent                    // a rule says so
	Down                      // a rule says so, of this time
	Lost                      // by the probability of loss
	Limited                   // more than the rate of the rule
	Throttled                 // more than the rate of the source
	Unwell                    // nothing is answered, as what is behind is not well
	Refused                   // there is no room for another delayed answer
	Ignored                   // what was decided must not be sent, such as an error about a broadcast
	Unsendable                // what was decided cannot be sent: it would be too long, or there is no Forge
)

var outcomes = [...]string{"replied", "error", "silent", "down", "lost", "limited", "throttled", "unwell", "refused", "ignored", "unsendable"}

// String returns the name as it is used for events, "lost" for instance.
func (o Outcome) String() string {
	if int(o) < len(outcomes) {
		return outcomes[o]
	}
	return "Outcome(" + strconv.Itoa(int(o)) + ")"
}
