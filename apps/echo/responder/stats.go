package responder

import (
	"net/netip"

	"iomux/apps/echo/responder/rules"
)

// Stats counts since New. Every message received is accounted for exactly once: between
// two turns of the loop
//
//	Received = Answered + Errors + SendErrors + Queued +
//		Corrupt + Ignored + Fragments +
//		Silent + Down + Lost + Limited + Throttled + Unwell + Refused
//
// The others count besides.
type Stats struct {
	Received uint64 // messages of any kind

	Answered   uint64 // replies that were sent, without copies
	Errors     uint64 // ICMP errors that were sent, without copies
	SendErrors uint64 // answers that could not be sent, without copies
	Queued     uint64 // answers still to be sent: held, or waiting for room; after Stop, dropped

	Corrupt   uint64 // not answered: malformed, a bad checksum, or truncated
	Ignored   uint64 // not answered: no echo request, or one with addresses that must not be answered, such as broadcast ones, or with a source route
	Fragments uint64 // not answered: IP packets that are not whole

	Silent    uint64 // not answered: a rule says so
	Down      uint64 // not answered: a rule says so, of that time
	Lost      uint64 // not answered: by the probability of loss
	Limited   uint64 // not answered: more than the rate of a rule
	Throttled uint64 // not answered: more than the rate of a source
	Unwell    uint64 // not answered: what is behind was not well
	Refused   uint64 // not answered: there was no room for another delayed answer

	Delayed    uint64 // answers that were held
	Damaged    uint64 // replies that are other than they should be: data or checksum
	Duplicated uint64 // copies that were sent
	CopiesLost uint64 // copies that were not: the rate of the source, or a failure
	RecvErrors uint64 // failed receptions
}

// RuleStats counts what a rule has decided, since there is one of that name.
type RuleStats struct {
	rules.Rule
	Requests uint64 // that it was asked about; not those that were Throttled or Unwell before

	// The outcomes, which are Requests together.
	Replied, Errored, Silent, Down, Lost, Limited, Refused, Ignored, Unsendable uint64

	// Besides.
	Delayed    uint64 // answers that were held
	Reordered  uint64 // of these, for others to overtake them
	Damaged    uint64 // replies that are other than they should be
	Duplicated uint64 // copies
}

// Source counts the requests from a prefix: a /24 of IPv4 or a /48 of IPv6. The
// prefixes with the most requests are known, in a table of a fixed size. One that has
// taken the place of another goes on with its numbers, so that Requests are too many
// by Error at most.
type Source struct {
	Prefix    netip.Prefix
	Requests  uint64
	Error     uint64 // how many of the Requests may be those of others
	Answered  uint64 // requests with a reply or an ICMP error, since the prefix has its place
	Throttled uint64 // requests that were more than the rate, since then
}
