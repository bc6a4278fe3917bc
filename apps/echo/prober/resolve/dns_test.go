package resolve

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// server is a name server on one address, over UDP and TCP. It answers with what
// respond returns, message by message; without any the client hears nothing.
type server struct {
	mu      sync.Mutex
	asked   []string // network, type and name of each query
	respond func(network string, query dnsmessage.Message) [][]byte
}

// serve starts a server, which ends with the test.
func serve(t testing.TB, addr string, respond func(string, dnsmessage.Message) [][]byte) *server {
	t.Helper()
	s := &server{respond: respond}
	packets, err := net.ListenPacket("udp", addr+":53")
	if err != nil {
		t.Fatal(err)
	}
	streams, err := net.Listen("tcp", addr+":53")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { packets.Close(); streams.Close(); running.Wait() })
	running.Go(func() {
		b := make([]byte, 4096)
		for {
			n, from, err := packets.ReadFrom(b)
			if err != nil {
				return
			}
			for _, m := range s.answer("udp", b[:n]) {
				packets.WriteTo(m, from)
			}
		}
	})
	running.Go(func() {
		for {
			c, err := streams.Accept()
			if err != nil {
				return
			}
			running.Go(func() { s.stream(c) })
		}
	})
	return s
}

func (s *server) stream(c net.Conn) {
	defer c.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		for _, m := range s.answer("tcp", b) {
			framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...)
			for _, part := range [][]byte{framed[:1], framed[1:5], framed[5:]} {
				c.Write(part)
			}
		}
	}
}

func (s *server) answer(network string, b []byte) [][]byte {
	var query dnsmessage.Message
	if query.Unpack(b) != nil || len(query.Questions) != 1 {
		return nil
	}
	q := query.Questions[0]
	s.mu.Lock()
	s.asked = append(s.asked, network+" "+strings.TrimPrefix(q.Type.String(), "Type")+" "+q.Name.String())
	s.mu.Unlock()
	return s.respond(network, query)
}

// queries is how many queries there were.
func (s *server) queries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// records are those of a response.
type records []dnsmessage.Resource

// rr makes a record for a name, of an address or of the name that it is an alias of.
func rr(name string, ttl uint32, value string) dnsmessage.Resource {
	r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{
		Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: ttl}}
	addr, err := netip.ParseAddr(value)
	switch {
	case err != nil:
		r.Body = &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(value)}
	case addr.Is4():
		r.Body = &dnsmessage.AResource{A: addr.As4()}
	default:
		r.Body = &dnsmessage.AAAAResource{AAAA: addr.As16()}
	}
	return r
}

// soa makes the record that says how long there is nothing.
func soa(ttl, minimum uint32) dnsmessage.Resource {
	name := dnsmessage.MustNewName("example.")
	return dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: ttl},
		Body:   &dnsmessage.SOAResource{NS: name, MBox: name, MinTTL: minimum}}
}

// response makes the response to a query; alter, if not nil, may change it.
func response(query dnsmessage.Message, code dnsmessage.RCode, answers, authorities records, alter func(*dnsmessage.Message)) []byte {
	m := dnsmessage.Message{
		Header:      dnsmessage.Header{ID: query.ID, Response: true, RecursionAvailable: true, RCode: code},
		Questions:   query.Questions,
		Answers:     answers,
		Authorities: authorities,
	}
	if alter != nil {
		alter(&m)
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}
