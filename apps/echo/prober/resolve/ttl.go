package resolve

import (
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// verdict is what a DNS message says of the addresses it was asked for.
type verdict uint8

const (
	nothing verdict = iota // it is no answer, or does not say for how long it holds
	present                // here they are
	absent                 // there are none
)

// examine reads in a DNS message how long it holds, if it answers the query. It takes
// for an answer exactly what Go's resolver does, which
//   - goes on waiting where it is no response to that query,
//   - asks again over TCP where a datagram is truncated,
//   - tries another server where the response code is an error other than that the
//     name does not exist, or where the answer ends badly before the first record of
//     the type that was asked for,
//   - takes the addresses of all records from that one on, until the end or a bad
//     record, without a look at their names: the server has followed the aliases.
//
// Addresses hold as long as each of the records that led to them; their absence as
// long as the SOA record says (RFC 2308, section 5).
func examine(query, message []byte, datagram bool) (time.Duration, verdict) {
	var asked, p dnsmessage.Parser
	head, err := asked.Start(query)
	if err != nil {
		return 0, nothing
	}
	q, err := asked.Question()
	if err != nil {
		return 0, nothing
	}
	h, err := p.Start(message)
	if err != nil || !h.Response || h.ID != head.ID || h.Truncated && datagram {
		return 0, nothing
	}
	same, err := p.Question()
	if err != nil || !match(q, same) || p.SkipQuestion() != dnsmessage.ErrSectionDone {
		return 0, nothing
	}
	switch code(p, h) {
	case dnsmessage.RCodeSuccess:
		held, found, err := addresses(&p, q.Type)
		if found {
			return held, present
		}
		if err != nil {
			return 0, nothing
		}
	case dnsmessage.RCodeNameError:
		if p.SkipAllAnswers() != nil {
			return 0, nothing
		}
	default:
		return 0, nothing
	}
	return absence(&p)
}

// match reports whether two questions are the same; case is of no account in names.
func match(a, b dnsmessage.Question) bool {
	return a.Type == b.Type && a.Class == b.Class && strings.EqualFold(a.Name.String(), b.Name.String())
}

// code is the response code. Its upper bits are in the OPT record (RFC 6891, section
// 6.1.3).
func code(p dnsmessage.Parser, h dnsmessage.Header) dnsmessage.RCode {
	p.SkipAllAnswers()
	p.SkipAllAuthorities()
	for {
		r, err := p.AdditionalHeader()
		switch {
		case err != nil:
			return h.RCode
		case r.Type == dnsmessage.TypeOPT:
			return r.ExtendedRCode(h.RCode)
		case p.SkipAdditional() != nil:
			return h.RCode
		}
	}
}

// addresses reads the answer section up to its end or the first bad record. found says
// whether there is an address; the others say how long all of them hold, and what is
// wrong with the bad record.
func addresses(p *dnsmessage.Parser, asked dnsmessage.Type) (held time.Duration, found bool, err error) {
	held = forever
	reached := false // the first record of the type that was asked for
	for {
		r, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			return held, found, nil
		}
		if err != nil {
			return held, found, err
		}
		reached = reached || r.Type == asked
		counts := r.Type == dnsmessage.TypeCNAME
		switch {
		case reached && r.Type == dnsmessage.TypeA:
			_, err = p.AResource()
			counts, found = err == nil, found || err == nil
		case reached && r.Type == dnsmessage.TypeAAAA:
			_, err = p.AAAAResource()
			counts, found = err == nil, found || err == nil
		default:
			err = p.SkipAnswer()
		}
		if err != nil {
			return held, found, err
		}
		if counts {
			held = min(held, seconds(r.TTL))
		}
	}
}

// absence reads in the authority section how long to believe that there is nothing.
func absence(p *dnsmessage.Parser) (time.Duration, verdict) {
	for {
		r, err := p.AuthorityHeader()
		if err != nil {
			return 0, nothing
		}
		if r.Type == dnsmessage.TypeSOA {
			soa, err := p.SOAResource()
			if err != nil {
				return 0, nothing
			}
			return min(seconds(r.TTL), seconds(soa.MinTTL)), absent
		}
		if p.SkipAuthority() != nil {
			return 0, nothing
		}
	}
}

// forever is longer than any TTL.
const forever = 1 << 31 * time.Second

// seconds is a TTL as a duration. With the upper bit set it is 0 (RFC 2181, section 8).
func seconds(ttl uint32) time.Duration {
	if ttl >= 1<<31 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}
