package resolve

import (
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// ask makes a query.
func ask(typ dnsmessage.Type) dnsmessage.Message {
	return dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{
		{Name: dnsmessage.MustNewName("x."), Type: typ, Class: dnsmessage.ClassINET}}}
}

func TestExamine(t *testing.T) {
	four, six, other := rr("x.", 9, "192.0.2.1"), rr("x.", 8, "2001:db8::1"), rr("x.", 3, "y.")
	unrelated := rr("x.", 1, "y.")
	unrelated.Body = &dnsmessage.TXTResource{TXT: []string{"text"}}
	const ok, name, servfail = dnsmessage.RCodeSuccess, dnsmessage.RCodeNameError, dnsmessage.RCodeServerFailure
	truncated := func(m *dnsmessage.Message) { m.Truncated = true }
	extended := func(m *dnsmessage.Message) { // BADVERS, whose lower bits are those of success
		var h dnsmessage.ResourceHeader
		h.SetEDNS0(1232, 16, false)
		m.Additionals = append(records{four}, dnsmessage.Resource{Header: h, Body: &dnsmessage.OPTResource{}})
	}
	for name, c := range map[string]struct {
		code                 dnsmessage.RCode
		answers, authorities records
		alter                func(*dnsmessage.Message)
		cut                  int
		stream               bool
		ttl                  time.Duration
		verdict              verdict
	}{
		"address":                       {answers: records{four}, ttl: 9, verdict: present},
		"address of another kind after": {answers: records{four, six}, ttl: 8, verdict: present},
		"address of another kind first": {answers: records{six, four}, ttl: 9, verdict: present},
		"address of another kind alone": {answers: records{six}},
		"alias":                         {answers: records{other, four}, ttl: 3, verdict: present},
		"alias alone":                   {answers: records{other}, authorities: records{soa(5, 6)}, ttl: 5, verdict: absent},
		"other record":                  {answers: records{unrelated, four}, ttl: 9, verdict: present},
		"bad record after":              {answers: records{four, rr("x.", 1, "192.0.2.2")}, cut: 1, ttl: 9, verdict: present},
		"bad record":                    {answers: records{four}, cut: 1},
		"bad record, then SOA":          {answers: records{four}, authorities: records{soa(5, 6)}, cut: 60},
		"truncated datagram":            {answers: records{four}, alter: truncated},
		"truncated stream":              {answers: records{four}, alter: truncated, stream: true, ttl: 9, verdict: present},
		"failure":                       {code: servfail, answers: records{four}},
		"failure, extended code":        {code: ok, answers: records{four}, alter: extended},
		"no such name":                  {code: name, authorities: records{unrelated, soa(60, 50)}, ttl: 50, verdict: absent},
		"no such name, with an address": {code: name, answers: records{four}, authorities: records{soa(50, 60)}, ttl: 50, verdict: absent},
		"no such name, no SOA":          {code: name},
		"no such name, bad SOA":         {code: name, authorities: records{soa(5, 6)}, cut: 1},
		"another identifier":            {answers: records{four}, alter: func(m *dnsmessage.Message) { m.ID++ }},
		"a query":                       {answers: records{four}, alter: func(m *dnsmessage.Message) { m.Response = false }},
		"another name": {answers: records{four}, alter: func(m *dnsmessage.Message) {
			m.Questions = ask(a).Questions
			m.Questions[0].Name = dnsmessage.MustNewName("y.")
		}},
		"another type": {answers: records{four}, alter: func(m *dnsmessage.Message) { m.Questions = ask(aaaa).Questions }},
		"another class": {answers: records{four}, alter: func(m *dnsmessage.Message) {
			m.Questions = ask(a).Questions
			m.Questions[0].Class = dnsmessage.ClassCHAOS
		}},
		"two questions": {answers: records{four}, alter: func(m *dnsmessage.Message) { m.Questions = append(ask(a).Questions, ask(a).Questions...) }},
		"no question":   {answers: records{four}, alter: func(m *dnsmessage.Message) { m.Questions = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			query := ask(a)
			packed, err := query.Pack()
			if err != nil {
				t.Fatal(err)
			}
			b := response(query, c.code, c.answers, c.authorities, c.alter)
			ttl, verdict := examine(packed, b[:len(b)-min(c.cut, len(b))], !c.stream)
			if verdict != c.verdict || ttl != c.ttl*time.Second {
				t.Errorf("%v, verdict %d; want %v, verdict %d", ttl, verdict, c.ttl*time.Second, c.verdict)
			}
		})
	}
}

// Whatever comes, the TTL is one that DNS can express.
func FuzzExamine(f *testing.F) {
	query, err := func() ([]byte, error) { m := ask(a); return m.Pack() }()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(query, []byte{}, true)
	f.Add(query, query, true)
	f.Add([]byte{}, query, false)
	f.Add(query, response(ask(a), 0, records{rr("x.", 3, "y."), rr("y.", 1<<31, "192.0.2.1")}, nil, nil), true)
	f.Add(query, response(ask(a), dnsmessage.RCodeNameError, nil, records{soa(1<<32-1, 5)}, nil), false)
	loop := response(ask(a), 0, records{rr("x.", 3, "y.")}, nil, nil)
	f.Add(query, append(loop[:len(loop)-2], 0xc0, byte(len(loop)-2)), true)
	f.Fuzz(func(t *testing.T, query, message []byte, datagram bool) {
		ttl, verdict := examine(query, message, datagram)
		if ttl < 0 || ttl >= forever || verdict == nothing && ttl != 0 {
			t.Errorf("TTL %v, verdict %d", ttl, verdict)
		}
	})
}
