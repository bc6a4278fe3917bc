package prober

import (
	"net/netip"
	"time"
)

// probe is what is remembered of one probe: 56 bytes.
type probe struct {
	addr   [16]byte
	target uint64
	sent   time.Duration // since the prober's base: before the call that sent it, or when it was queued
	left   int64         // the kernel's transmit stamp, in ns since 1970; 0 for none
	number uint64        // of the target's probes
	zone   uint32        // interface of a link-local address
	try    uint8
	state  state
	is4    bool
	known  bool // addr is
}

type state uint8

const (
	queued   state = iota // not handed to the kernel yet
	awaited               // sent, and nothing known
	answered              // replied to, in whatever shape
	ended                 // given up, or reported by an error
)

func (p *probe) setAddr(a netip.Addr) { p.addr, p.is4, p.known = a.As16(), a.Is4(), true }

// address is where it was sent to, without a zone; the zero Addr if that was not known.
func (p *probe) address() netip.Addr {
	if !p.known {
		return netip.Addr{}
	}
	a := netip.AddrFrom16(p.addr)
	if p.is4 {
		return a.Unmap()
	}
	return a
}

// ledger remembers the probes of a path by their serial numbers, which count up. It
// holds the latest of them, in pages.
type ledger struct {
	pages []*page
	first uint64 // serial number of the first probe in pages
	head  uint64 // of the first one that may not have ended
	next  uint64 // of the next one to be added
	spare []*page
}

// newLedger returns one that begins with serial number 1, as ping(8) does, so that the
// sequence numbers of a single target are those that people are shown.
func newLedger() ledger { return ledger{first: 1, head: 1, next: 1} }

const pageSize = 1024

type page [pageSize]probe

// add takes a probe in.
func (l *ledger) add(p *probe) {
	serial := l.next
	if serial-l.first == uint64(len(l.pages))*pageSize {
		if n := len(l.spare); n > 0 {
			l.pages = append(l.pages, l.spare[n-1])
			l.spare = l.spare[:n-1]
		} else {
			l.pages = append(l.pages, new(page))
		}
	}
	l.next++
	*l.at(serial) = *p
}

// at returns the probe with a serial number, or nil if it has been forgotten or was
// never there.
func (l *ledger) at(serial uint64) *probe {
	if serial < l.first || serial >= l.next {
		return nil
	}
	i := serial - l.first
	return &l.pages[i/pageSize][i%pageSize]
}

// advance moves head on to the first probe that has not ended, and reports whether
// there is one.
func (l *ledger) advance() bool {
	for l.head < l.next {
		if s := l.at(l.head).state; s == queued || s == awaited {
			return true
		}
		l.head++
	}
	return false
}

// forget drops the first page.
func (l *ledger) forget() {
	l.spare = append(l.spare, l.pages[0])
	copy(l.pages, l.pages[1:])
	l.pages = l.pages[:len(l.pages)-1]
	l.first += pageSize
}

// forgot reports whether a serial number is that of a probe that has been forgotten.
func (l *ledger) forgot(serial uint64) bool { return serial > 0 && serial < l.first }

// held is how many probes are remembered.
func (l *ledger) held() uint64 { return l.next - l.first }

// latest returns the latest serial number that has these low 16 bits, those of its
// sequence number; ok is whether there is one.
func (l *ledger) latest(seq uint16) (serial uint64, ok bool) {
	back := uint64(uint16(l.next - 1 - uint64(seq)))
	if l.next == 0 || back > l.next-1 {
		return 0, false
	}
	return l.next - 1 - back, true
}

// byID returns the probe whose serial number has these low 32 bits, or nil.
func (l *ledger) byID(id uint32) *probe {
	return l.at(l.next - 1 - uint64(uint32(l.next-1)-id))
}
