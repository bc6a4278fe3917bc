package cmd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"iomux/apps/echo/prober"
	"iomux/apps/echo/prober/targets"
)

const (
	sweepRate = 1000 // probes per second to several hosts, unless something else is said
	// maxTargetStats is up to how many hosts each has statistics of its own, which
	// take up to 700 bytes.
	maxTargetStats = 1 << 18
)

// config makes the prober's Config of the options, after check.
func (o *clientOptions) config(list *targets.List) (prober.Config, error) {
	cfg := prober.Config{Targets: list, Count: uint64(o.count), Interval: o.interval, Timeout: o.timeout, Rate: o.rate, Jitter: o.jitter,
		Retries: int(o.retries), Backoff: o.backoff, Window: int(o.window), Data: o.payload(), Verbatim: o.given("data"),
		TTL: uint8(o.ttl), TOS: uint8(o.tos), Mark: uint32(o.mark), DontFragment: o.pmtu == "do" || o.pmtu == "probe",
		Broadcast: o.broadcast, UserClock: o.userClock, Network: "ip"}
	if !o.given("count") && (!o.alone || o.chosen()) {
		cfg.Count = 1
	}
	if cfg.Count == 1 && !o.given("interval") && !o.jitter || o.flood {
		cfg.Interval = 0
	}
	if !o.alone && !o.given("rate") && !o.given("interval") && !o.flood {
		cfg.Rate = sweepRate
	}
	cfg.TargetStats = cfg.Count != 1 && list.Len() <= maxTargetStats
	switch {
	case o.ipv4, o.network == rawNetwork, o.network == pingNetwork:
		cfg.Network = "ip4"
	case o.ipv6, o.network == rawNetwork6, o.network == pingNetwork6:
		cfg.Network = "ip6"
	}
	return cfg, o.origin(&cfg)
}

// origin sets where probes come from.
func (o *clientOptions) origin(cfg *prober.Config) error {
	var errs []error
	for _, from := range o.from {
		name := from
		if a, err := netip.ParseAddr(from); err == nil {
			if cfg.Source.IsValid() {
				errs = append(errs, fmt.Errorf("--interface %v and %v: want one address", cfg.Source, a))
			}
			if name = a.Zone(); o.network == "" {
				errs = append(errs, ours(a))
			}
			cfg.Source = a.Unmap().WithZone("")
		} else if _, err := net.InterfaceByName(from); err != nil && o.network == "" {
			errs = append(errs, fmt.Errorf("--interface %s: it is no address and no interface", from))
		}
		if cfg.Interface != "" && name != "" && name != cfg.Interface {
			errs = append(errs, fmt.Errorf("--interface %s and %s: want one interface", cfg.Interface, name))
		}
		if name != "" {
			cfg.Interface = name
		}
	}
	if !cfg.Source.IsValid() {
		return join(errs...)
	}
	// What goes to the other family would come from another address.
	c, others := cfg.Targets.Counts(), uint64(0)
	switch {
	case cfg.Source.Is4():
		others = c.IPv6
		cfg.Network = "ip4"
	default:
		others = c.IPv4
		cfg.Network = "ip6"
	}
	if others > 0 || o.ipv4 && cfg.Source.Is6() || o.ipv6 && cfg.Source.Is4() {
		errs = append(errs, fmt.Errorf("--interface %v: the address is of the other family than the targets", cfg.Source))
	}
	return join(errs...)
}

// ours reports an address that packets cannot be sent from, because it is none of
// this host's.
func ours(a netip.Addr) error {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err != nil {
		var system *net.OpError
		if errors.As(err, &system) {
			err = system.Err
		}
		return fmt.Errorf("--interface %v: %w", a, err)
	}
	return c.Close()
}
