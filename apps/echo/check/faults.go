package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"iomux/apps/echo/prober/stats"
)

// Fault is something that a server does on purpose, at an address of its own.
type Fault struct {
	Name string
	Wire string // what happens on the wire, for people
	Addr netip.Addr

	rule string // what a rule says, as lines of YAML; "" for nothing
	want []want // what the client must say
	note string // why, where that is not obvious

	stray int // messages that belong to no request, as the client must see them
	// luck: which replies are reordered is told by their order alone, and overtaken is
	// how many are at least.
	luck      bool
	overtaken int
	// perSecond is how many requests may be answered besides, for each second that the
	// run takes.
	perSecond int

	// For other probers.
	truth    truth
	answers  int    // how many requests are answered, for limited; copies, for repeated
	toolRule string // in place of rule
	clients  bool   // it cannot be told from outside what is right: for the client only

	// Faults of a group are alike, so that a line may tell of several: the name is that
	// of the group and the item.
	group, item, groupWire string
}

// want is an outcome that the client must report, with all that it says of it.
type want struct {
	outcome stats.Outcome
	n       int

	from       netip.Addr // the zero Addr: the one that was asked
	kind, code int        // of the ICMP message
	ttl, tos   int
	size       span // of the ICMP message, in bytes
	offset     span // where the data differs; absent: nowhere
	mtu        int
	rtt        time.Duration // at least
}

// span is a range of numbers.
type span struct{ low, high int }

var absent = span{-1, -1}

const (
	rounds      = 3  // requests to most faults
	burstRounds = 40 // where it takes many: that no reply is overtaken is as likely as 41/2^40
	size        = 64 // of an ICMP message with the client's usual data
	dataSize    = size - 8
	defaultTTL  = 64
)

// Parts returns everything that client and server can show at a site.
func Parts(s Site) []Part {
	t := &table{Site: s}
	steady := []*Fault{}
	steady = append(steady, t.answered()...)
	steady = append(steady, t.silent()...)
	steady = append(steady, t.damaged()...)
	steady = append(steady, t.errors()...)
	return []Part{
		// All requests leave long before the first one is given up, and the run goes on for
		// as long, so that copies and what nobody asked for is received as well.
		{Name: "steady", Site: s, Takes: 3300 * time.Millisecond, Rounds: rounds, Faults: steady, Server: []string{"--rate", "0"},
			Client: []string{"--interval", "100ms", "--timeout", "3s"}},
		// What is held for 400 ms comes after 100 ms, in any case. The faults take turns,
		// 750 ms each, and the last request goes to one that answers nothing.
		{Name: "late", Site: s, Takes: 5350 * time.Millisecond, Rounds: 2, Faults: t.late(), Server: []string{"--rate", "0"},
			Client: []string{"--interval", "3s", "--timeout", "100ms"}},
		{Name: "many at once", Site: s, Takes: 3100 * time.Millisecond, Rounds: burstRounds, Faults: t.burst(), Server: []string{"--rate", "0"},
			Client: []string{"--interval", "2ms", "--timeout", "3s"}},
		{Name: "throttled", Site: s, Takes: 400 * time.Millisecond, Rounds: burstRounds, Faults: t.throttled(), Server: []string{"--rate", "1"},
			Client: []string{"--interval", "2ms", "--timeout", "300ms"}},
	}
}

// table makes faults, each with the next address.
type table struct {
	Site
	next int
}

func (t *table) fault(name, wire, rule string, kind truth, wants ...want) *Fault {
	f := &Fault{Name: name, Wire: wire, Addr: t.address(t.next), rule: rule, truth: kind, want: wants}
	t.next++
	return f
}

// reply is an answer as it should be.
func (t *table) reply(o stats.Outcome, n int) want {
	return want{outcome: o, n: n, kind: pick(t.Site, 0, 129), ttl: defaultTTL, size: span{size, size}, offset: absent}
}

func (t *table) replies(rtt time.Duration) want {
	w := t.reply(stats.Reply, rounds)
	w.rtt = rtt
	return w
}

// timeouts is that nothing was heard.
func timeouts(n int) want { return want{outcome: stats.Timeout, n: n, offset: absent} }

func (t *table) answered() []*Fault {
	const ms = time.Millisecond
	ttl, tos := t.replies(0), t.replies(0)
	ttl.ttl, tos.tos = 17, 0x28
	delay := func(item, wire, rule string, least time.Duration) *Fault {
		f := t.fault("delay, "+item, wire, rule, good, t.replies(least))
		f.group, f.item, f.groupWire = "delay,", item, "a reply after up to 100ms"
		f.luck = item != "constant"
		return f
	}
	all := []*Fault{
		t.fault("none", "a reply as it should be", "", good, t.replies(0)),
		delay("constant", "a reply after 40ms", "delay: 40ms", 40*ms),
		delay("uniform", "a reply after 30ms to 60ms", "delay: uniform:30ms,60ms", 30*ms),
		// One in 10^23 is below.
		delay("normal", "a reply after some 60ms", "delay: normal:60ms,1ms", 50*ms),
		delay("pareto", "a reply after 30ms to 100ms", "delay: pareto:30ms,3,100ms", 30*ms),
		delay("jitter", "a reply after 40ms to 80ms", "delay: 60ms\njitter: 20ms", 40*ms),
		t.fault("down later", "a reply, as it is not down yet", "down: {from: 59m, to: 1h}", good, t.replies(0)),
		t.fault("time to live", "a reply with a time to live of 17", "ttl: 17", good, ttl),
		t.fault("type of service", "a reply with a type of service of 0x28", "tos: 0x28", good, tos),
		t.fault("duplicate", "a reply and a copy", "duplicate: 100%", repeated, t.replies(0), t.reply(stats.Duplicate, rounds)),
		t.fault("3 duplicates", "a reply and 3 copies", "duplicate: 100%,copies=3", repeated, t.replies(0), t.reply(stats.Duplicate, 3*rounds)),
	}
	for _, f := range all {
		if f.truth == repeated {
			f.answers = f.want[1].n / rounds
		}
	}
	return all
}

func (t *table) silent() []*Fault {
	return []*Fault{
		t.fault("silence", "nothing", "silent: true", nothing, timeouts(rounds)),
		t.fault("loss", "nothing, as all is lost", "loss: 100%", nothing, timeouts(rounds)),
		t.fault("down", "nothing, as it is down", "down: {from: 0s, to: 1h}", nothing, timeouts(rounds)),
	}
}

func (t *table) damaged() []*Fault {
	corrupt := t.reply(stats.Corrupt, rounds)
	first, last, anywhere, longer, code := corrupt, corrupt, corrupt, corrupt, corrupt
	first.offset, last.offset, anywhere.offset = span{0, 0}, span{dataSize - 1, dataSize - 1}, span{0, dataSize - 1}
	longer.size = span{size + 1, size + 64}
	code.code = 7
	shorter := t.reply(stats.Truncated, rounds)
	shorter.size = span{size - dataSize, size - 1}
	foreign := t.reply(stats.WrongSource, rounds)
	foreign.from = t.elsewhere()

	all := []*Fault{
		t.fault("first byte", "a reply with the first byte of the data changed", "corrupt: {flip: 100%, at: 0}", bad, first),
		t.fault("last byte", "a reply with the last byte of the data changed", "corrupt: {flip: 100%, at: -1}", bad, last),
		t.fault("any byte", "a reply with a byte of the data changed", "corrupt: {flip: 100%}", bad, anywhere),
		t.fault("damaged copy", "a reply with the last byte of the data changed, and a copy of it", "corrupt: {flip: 100%, at: -1}\nduplicate: 100%", bad,
			last, t.reply(stats.Duplicate, rounds)),
		t.fault("truncated", "a reply with less data", "corrupt: {truncate: 100%}", bad, shorter),
		t.fault("longer", "a reply with more data", "corrupt: {lengthen: 100%}", bad, longer),
		t.fault("code", "a reply with code 7", "code: 7", bad, code),
		t.fault("source", "a reply from another address", fmt.Sprintf("source: %q", t.elsewhere()), bad, foreign, timeouts(rounds)),
	}
	checksum := t.fault("checksum", "a reply with a wrong checksum", "corrupt: {checksum: 100%}", bad, corrupt)
	if t.IPv6 {
		// ipv6(7): raw sockets for ICMPv6 have their checksums verified.
		checksum.want, checksum.note, checksum.truth = []want{timeouts(rounds)}, "the kernel discards it", nothing
	}
	return append(all, checksum)
}

// failure is an ICMP error, from another address.
func (t *table) failure(name string, kind, code int, more string, mtu int) *Fault {
	return t.fault(name, fmt.Sprintf("ICMP type %d code %d", kind, code),
		fmt.Sprintf("error: {type: %d, code: %d, from: %q%s}", kind, code, t.elsewhere(), more), failing,
		want{outcome: stats.ICMPError, n: rounds, from: t.elsewhere(), kind: kind, code: code, offset: absent, mtu: mtu})
}

// failures are ICMP errors that differ by their codes.
func (t *table) failures(name string, kind int, codes ...int) []*Fault {
	var all []*Fault
	for _, code := range codes {
		f := t.failure(fmt.Sprintf("%s, code %d", name, code), kind, code, "", 0)
		f.group, f.item, f.groupWire = name+", code", strconv.Itoa(code), fmt.Sprintf("ICMP type %d", kind)
		all = append(all, f)
	}
	return all
}

// remarks are ICMP messages that do not end a request.
func (t *table) remarks(name string, kind int, codes ...int) []*Fault {
	all := t.failures(name, kind, codes...)
	for _, f := range all {
		f.want = []want{timeouts(rounds)}
		if f.stray = rounds; t.IPv6 {
			f.stray = 0 // the client's filter keeps it away
		}
	}
	return all
}

// tooBig are errors that tell an MTU.
func (t *table) tooBig(name string, kind, code int, mtus ...int) []*Fault {
	var all []*Fault
	for _, mtu := range mtus {
		f := t.failure(fmt.Sprintf("%s, MTU %d", name, mtu), kind, code, fmt.Sprintf(", mtu: %d", mtu), mtu)
		f.group, f.item, f.groupWire = name+", MTU", strconv.Itoa(mtu), f.Wire
		f.Wire += fmt.Sprintf(" with an MTU of %d", mtu)
		all = append(all, f)
	}
	return all
}

func (t *table) errors() []*Fault {
	var all []*Fault
	if t.IPv6 {
		all = slices.Concat(t.failures("unreachable", 1, 0, 1, 2, 3, 4, 5, 6, 7), t.tooBig("packet too big", 2, 0, 0, 1280, 1300))
	} else {
		// Code 4 is fragmentation needed.
		all = slices.Concat(t.failures("unreachable", 3, 0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), t.tooBig("fragmentation needed", 3, 4, 0, 68, 1300))
	}
	all = append(all, t.failures("time exceeded", pick(t.Site, 11, 3), 0, 1)...)
	all = append(all, t.failures("parameter problem", pick(t.Site, 12, 4), 0, 1, 2)...)

	// Of the first 8 bytes of a message the client can only tell that the error may be
	// true: anybody can make that up, so it waits for an answer nevertheless.
	header, kind := pick(t.Site, 20, 40), pick(t.Site, 3, 1)
	short := t.failure("short quote", kind, 1, fmt.Sprintf(", quote: %d", header+8), 0)
	short.Wire += ", with 8 bytes of the request"
	none := t.failure("quote of the IP header", kind, 1, fmt.Sprintf(", quote: %d", header), 0)
	none.Wire += ", with nothing of the request but its IP header"
	none.want, none.note = []want{timeouts(rounds)}, "nobody can tell what it is about"
	none.clients = true
	asked := t.failure("error from the target", kind, 1, "", 0)
	asked.rule, asked.want[0].from = fmt.Sprintf("error: {type: %d, code: 1}", kind), netip.Addr{}
	asked.Wire += ", from the address that was asked"
	twice := t.failure("error twice", kind, 1, "", 0)
	twice.rule += "\nduplicate: 100%"
	twice.Wire += ", twice"
	all = append(all, short, none, asked, twice)

	if t.IPv6 {
		return append(all, t.remarks("redirect", 137, 0)...)
	}
	return slices.Concat(all, t.remarks("source quench", 4, 0), t.remarks("redirect", 5, 0, 1, 2, 3))
}

func (t *table) late() []*Fault {
	once, twice := t.reply(stats.Late, 2), t.reply(stats.Late, 4)
	once.rtt, twice.rtt = 400*time.Millisecond, 400*time.Millisecond
	late := t.fault("late", "a reply after 2.5s", "delay: 400ms", belated, timeouts(2), once)
	late.toolRule = "delay: 2500ms"
	copies := t.fault("late copies", "a reply and a copy, late", "delay: 400ms\nduplicate: 100%", belated, timeouts(2), twice)
	failed := t.fault("late error", "an ICMP error, late", fmt.Sprintf("delay: 400ms\nerror: {type: %d, code: 1}", pick(t.Site, 3, 1)), failing, timeouts(2))
	failed.note = "the requests have ended by then"
	copies.clients, failed.clients = true, true
	end := t.fault("silence after all", "nothing", "silent: true", nothing, timeouts(2))
	end.clients = true
	return []*Fault{late, copies, failed, end}
}

func (t *table) burst() []*Fault {
	order := t.fault("reordering", "half of the replies are held for 400ms", "reorder: 50%,by=400ms", good, t.reply(stats.Reply, burstRounds))
	order.luck, order.overtaken, order.clients = true, 1, true
	const burst = 5
	rate := t.fault("rate limit", "a reply to the first request, nothing to the others", "rate: {replies: 0.001, burst: 5}", limited,
		t.reply(stats.Reply, burst), timeouts(burstRounds-burst))
	rate.toolRule, rate.answers = "rate: {replies: 0.001, burst: 1}", 1
	return []*Fault{order, rate}
}

func (t *table) throttled() []*Fault {
	f := t.fault("throttled source", "a reply to a source once a second", "", nothing, t.reply(stats.Reply, 1), timeouts(burstRounds-1))
	f.perSecond, f.clients = 1, true
	return []*Fault{f}
}
