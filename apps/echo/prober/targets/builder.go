package targets

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"

	"github.com/hashicorp/go-multierror"
)

// Builder gathers targets and excludes for a [List]. The zero value is ready. It is
// not safe for concurrent use.
type Builder struct {
	v4       []span[ipv4]
	v6       []span[uint128]
	hosts    []host
	last     family // of the last target
	seq      uint32 // of the next target
	excludes excludes
	empty    []string // files without a target
}

// host is a name or an address with a zone, and its place in the order of being
// added.
type host struct {
	Target
	seq uint32
}

type family uint8

const (
	ofHosts family = iota
	ofIPv4
	ofIPv6
)

// Parse returns the targets of specs, which are those of [Builder.Add]. The error tells
// everything that is wrong: one fault as itself, several as a *multierror.Error.
func Parse(specs ...string) (*List, error) {
	var b Builder
	var faults *multierror.Error
	for _, s := range specs {
		if err := b.Add(s); err != nil {
			faults = multierror.Append(faults, err)
		}
	}
	switch {
	case faults == nil:
		return b.List()
	case len(faults.Errors) == 1:
		return nil, faults.Errors[0]
	}
	return nil, faults
}

// Add adds the targets of a spec, which is one of
//
//	192.0.2.7                    an IPv4 address
//	2001:db8::7  [2001:db8::7]   an IPv6 address
//	fe80::7%eth0                 one with a zone
//	host.example                 a name
//	192.0.2.0/24  2001:db8::/120 a block of addresses
//	192.0.2.10-20                a range of the last number
//	192.0.2.10-192.0.3.20        a range of addresses, IPv4 or IPv6
//
// A block is taken whole, with the network and the broadcast address, and so is one
// around an address, such as 192.0.2.7/24. An IPv4 address mapped into IPv6 is taken
// as IPv4. Names consist of the labels of RFC 1123, which may have underscores too.
// They are not resolved, and compared without regard to case and to a dot at the
// end. What is added again stays where it was first.
//
// The error says what is wrong with the spec and what would be right; nothing was
// added then. A spec may have up to 1<<63-1 addresses.
func (b *Builder) Add(spec string) error {
	s, err := parse(spec)
	if err == nil {
		err = b.add(s)
	}
	if err != nil {
		return fmt.Errorf("target %s: %w", quote(spec), err)
	}
	return nil
}

// maxSpecs leaves room in 32 bits for the blocks that overlaps and excludes split.
const maxSpecs = 1 << 30

// mapped is the addresses ::ffff:0:0/96 (RFC 4291, section 2.5.5.2).
var mapped = interval[uint128]{uint128{0, 0xffff_0000_0000}, uint128{0, 0xffff_ffff_ffff}}

func (b *Builder) add(s spec) error {
	if b.seq == maxSpecs {
		return fmt.Errorf("there are %d targets and blocks before it, the most there can be; write larger blocks", b.seq)
	}
	switch {
	case s.name != "":
		b.addHost(Target{Name: s.name})
	case s.first.Zone() != "":
		b.addHost(Target{Addr: s.first})
	case s.first.Is4():
		r := interval[ipv4]{ipv4Of(s.first), ipv4Of(s.last)}
		b.v4 = grow(b.v4, r, b.last == ofIPv4, b.seq)
		b.last = ofIPv4
		b.seq++
	default:
		r := interval[uint128]{ipv6Of(s.first), ipv6Of(s.last)}
		if last := r.last.minus(r.first); last.hi != 0 || last.lo >= maxLen {
			return fmt.Errorf("it has %s addresses and there can be 2^63-1 targets; write a block of /66 or longer, or a shorter range", size(last))
		}
		if r.first.compare(mapped.last) <= 0 && r.last.compare(mapped.first) >= 0 {
			return errors.New("it has IPv4 addresses mapped into IPv6, ::ffff:0:0/96, and others; write the IPv4 addresses by themselves")
		}
		b.v6 = grow(b.v6, r, b.last == ofIPv6, b.seq)
		b.last = ofIPv6
		b.seq++
	}
	return nil
}

// grow adds an interval to the spans. A single address that follows the last target
// becomes part of its span, so that a list of neighbours is as short as a range.
func grow[K key[K]](spans []span[K], r interval[K], followsLast bool, seq uint32) []span[K] {
	if n := len(spans); n > 0 && followsLast && r.first.compare(r.last) == 0 && spans[n-1].followedBy(r.first) {
		spans[n-1].last = r.last
		return spans
	}
	return append(spans, span[K]{r, seq})
}

func (b *Builder) addHost(t Target) {
	// The text may be part of something larger.
	t.Name = strings.Clone(t.Name)
	b.hosts = append(b.hosts, host{t, b.seq})
	b.last = ofHosts
	b.seq++
}

// Exclude takes the targets of a spec away, be they added before or after. Specs are
// those of [Builder.Add], of any size: 0.0.0.0/0 is all of IPv4, and ::/0 all of
// IPv6, and nothing of IPv4. Addresses without a zone are excluded in every zone. A
// name is excluded as a name alone: its addresses are not known here.
func (b *Builder) Exclude(spec string) error {
	s, err := parse(spec)
	if err != nil {
		return fmt.Errorf("exclude %s: %w", quote(spec), err)
	}
	e := &b.excludes
	switch {
	case s.name != "":
		if e.names == nil {
			e.names = make(map[string]bool)
		}
		e.names[strings.Clone(nameKey(s.name))] = true
	case s.first.Zone() != "":
		if e.zoned == nil {
			e.zoned = make(map[netip.Addr]bool)
		}
		e.zoned[s.first] = true
	case s.first.Is4():
		e.v4 = append(e.v4, interval[ipv4]{ipv4Of(s.first), ipv4Of(s.last)})
	default:
		e.v6 = append(e.v6, interval[uint128]{ipv6Of(s.first), ipv6Of(s.last)})
	}
	return nil
}

// List returns the targets that were added and not excluded, each once, in the order
// in which they were added first; those of one spec go by address. The Builder may
// be used further, which does not change the list.
//
// It is an error if there is no target, and the error says why; or if there are more
// than 1<<63-1.
func (b *Builder) List() (*List, error) {
	t := &table{excludes: excludes{
		v4:    disjoint(b.excludes.v4),
		v6:    disjoint(b.excludes.v6),
		zoned: maps.Clone(b.excludes.zoned),
		names: b.excludes.names,
	}}
	var sum sums
	v4, n4 := settle(b.v4, t.excludes.v4, &sum)
	v6, n6 := settle(b.v6, t.excludes.v6, &sum)
	hosts := b.settleHosts(&t.excludes, &sum)
	t.excludes.names = nil // nobody asks for them any more

	n := n4.add(n6).plus(uint64(len(hosts)))
	switch {
	case n == uint128{}:
		return nil, b.none(sum.distinct)
	case n.tooMany():
		return nil, fmt.Errorf("there are %s targets and there can be 2^63-1; add smaller blocks or exclude more", size(n.prev()))
	}
	t.fill(v4, v6, hosts)
	zoned := uint64(len(t.zoned))
	t.counts = Counts{
		IPv4:       n4.lo,
		IPv6:       n6.lo + zoned,
		Names:      uint64(len(hosts)) - zoned,
		Duplicates: sum.given.minus(sum.distinct).uint64(),
		Excluded:   sum.distinct.minus(n).uint64(),
	}
	return &List{table: t}, nil
}

// sums counts targets: all, and each once.
type sums struct{ given, distinct uint128 }

// settle returns which addresses of the spans are targets, by order of being added,
// and how many.
func settle[K key[K]](given []span[K], without []interval[K], sum *sums) ([]span[K], uint128) {
	sum.given = sum.given.add(total(given))
	spans := distinct(append([]span[K](nil), given...))
	sum.distinct = sum.distinct.add(total(spans))
	spans = subtract(spans, without)
	bySeq(spans)
	return spans, total(spans)
}

// settleHosts returns which hosts are targets.
func (b *Builder) settleHosts(e *excludes, sum *sums) []host {
	type identity struct {
		name string
		addr netip.Addr
	}
	seen := make(map[identity]bool, len(b.hosts))
	var left []host
	for _, h := range b.hosts {
		id := identity{nameKey(h.Name), h.Addr}
		sum.given = sum.given.next()
		if seen[id] {
			continue
		}
		seen[id] = true
		sum.distinct = sum.distinct.next()
		if !e.names[id.name] && !e.addr(id.addr) {
			left = append(left, h)
		}
	}
	return left
}

// none says why there is no target out of as many as were added.
func (b *Builder) none(added uint128) error {
	const right = "add an address, a name, a block such as 192.0.2.0/24 or a range such as 192.0.2.10-20"
	switch {
	case added != uint128{}:
		return fmt.Errorf("no target is left: all that were added, %s, are excluded; exclude less or add others", size(added.prev()))
	case len(b.empty) > 0:
		return fmt.Errorf("there is no target in %s; %s", strings.Join(b.empty, ", "), right)
	}
	return errors.New("there is no target; " + right)
}
