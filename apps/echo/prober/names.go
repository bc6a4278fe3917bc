package prober

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"iomux/apps/echo/prober/resolve"
)

// maxLookups is how many names are looked up at a time.
const maxLookups = 16

// maxParked is how many probes wait for an address before no further targets are probed.
const maxParked = 4096

// maxLookup is how long one lookup may take.
const maxLookup = 30 * time.Second

// bounded ends lookups that take too long, so that no probe waits for ever.
func bounded(lookup resolve.Lookup) resolve.Lookup {
	return func(ctx context.Context, network, host string) (resolve.Answer, error) {
		ctx, cancel := context.WithTimeout(ctx, maxLookup)
		defer cancel()
		return lookup(ctx, network, host)
	}
}

// host is what is known of a target that has a name.
type host struct {
	target  uint64
	addr    netip.Addr // zero until it is known
	err     error      // of the last lookup
	asking  bool
	renewal time.Duration // when to ask again
	parked  uint64        // the number of a probe that waits for the address; 0 for none
}

// host returns what is known of a name, and has it looked up if need be.
func (p *Prober) host(target uint64, name string) *host {
	h := p.hosts[target]
	if h == nil {
		h = &host{target: target}
		p.hosts[target] = h
	}
	if !h.asking && p.elapsed() >= h.renewal {
		h.asking = true
		p.names.Resolve(p.cfg.Network, name, func(a resolve.Answer, err error) { p.resolved(h, a, err) })
	}
	return h
}

// resolved is called with what a name stands for. While there is nothing better, an
// address that was known before is kept.
func (p *Prober) resolved(h *host, a resolve.Answer, err error) {
	if p.stopped {
		return
	}
	h.asking, h.err = false, err
	h.renewal = p.elapsed() + a.Refresh()
	for _, addr := range a.Addrs {
		if addr.IsUnspecified() || p.cfg.Targets.Excluded(addr) {
			continue
		}
		if _, err := p.path(addr); err != nil {
			h.err = err
			continue
		}
		h.addr, h.err = addr, nil
		break
	}
	if err == nil && !h.addr.IsValid() && h.err == nil {
		h.err = errNoAddress
	}
	if h.addr.IsValid() {
		h.err = nil // what was known before will do
	}
	if h.parked > 0 {
		p.found = append(p.found, h)
		p.pump()
	}
	if p.started && !p.began {
		p.begin()
	}
}

// sendByName sends a probe to a host, or parks it until its address is known.
func (p *Prober) sendByName(target uint64, name string, number uint64) {
	h := p.host(target, name)
	switch {
	case h.addr.IsValid():
		p.send(target, h.addr, number, 0, nil)
		p.dismiss(h, number)
	case !h.asking:
		p.send(target, netip.Addr{}, number, 0, h.err)
		p.dismiss(h, number)
	case h.parked > 0:
		p.send(target, netip.Addr{}, number, 0, errResolving)
	default:
		h.parked = number
		p.parked++
	}
}

// dismiss forgets a host after the last of its probes.
func (p *Prober) dismiss(h *host, number uint64) {
	if number == p.cfg.Count && !h.asking {
		delete(p.hosts, h.target)
	}
}

// identify fills in whose probe a result is about.
func (p *Prober) identify(r *Result, pr *probe) {
	r.Target, r.Addr, r.Number, r.Try = pr.target, pr.address(), pr.number, int(pr.try)
	if pr.zone != 0 {
		zone := p.zoneName(pr.zone)
		r.Addr = r.Addr.WithZone(zone)
		if r.From.IsLinkLocalUnicast() {
			r.From = r.From.WithZone(zone)
		}
	}
	if p.hosts != nil {
		r.Name = p.cfg.Targets.At(pr.target).Name
	}
}

// zone is what an IPv6 zone stands for (RFC 4007): the index of an interface.
type zone struct {
	index   uint32
	err     error
	renewal time.Duration // when to look again: interfaces come and go
}

const zoneRenewal = 10 * time.Second

// zone returns the index of an interface by its name or number; 0 for no zone.
func (p *Prober) zone(name string) (uint32, error) {
	if name == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(n), nil
	}
	z, known := p.zones[name]
	if now := p.elapsed(); !known || now >= z.renewal {
		z = zone{renewal: now + zoneRenewal}
		if i, err := net.InterfaceByName(name); err == nil {
			z.index = uint32(i.Index)
		} else {
			z.err = fmt.Errorf("zone %q: %w", name, err)
		}
		if p.zones == nil {
			p.zones = make(map[string]zone)
		}
		p.zones[name] = z
	}
	return z.index, z.err
}

// zoneName returns the zone with an index as the targets have it.
func (p *Prober) zoneName(index uint32) string {
	for name, z := range p.zones {
		if z.index == index {
			return name
		}
	}
	return strconv.FormatUint(uint64(index), 10)
}
