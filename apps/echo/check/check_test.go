package check

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"iomux/apps/echo/prober/stats"
	"iomux/apps/echo/responder/rules"
)

// sites are those that differ: where a server answers changes nothing, nor a backend.
var sites = []Site{{On: Raw, Backend: "poll"}, {IPv6: true, On: TUN, Backend: "poll"}}

func TestTheRulesOfEveryPartCanBeRead(t *testing.T) {
	for _, s := range sites {
		for _, p := range Parts(s) {
			set, err := rules.Parse(p.Name, p.Rules())
			if err != nil {
				t.Errorf("%v: %v\n%s", s, err, p.Rules())
				continue
			}
			for i, f := range p.Faults {
				if n := set.Match(netip.Addr{}, f.Addr); n != i || set.Rule(n).Name != f.Name {
					t.Errorf("%v, %s: the address %v has rule %d", s, f.Name, f.Addr, n)
				}
			}
		}
		if _, err := rules.Parse("tools", ToolRules(Seats(s))); err != nil {
			t.Errorf("%v: %v", s, err)
		}
	}
}

func TestEveryFaultHasANameAndAnAddressOfItsOwn(t *testing.T) {
	for _, s := range sites {
		names, addrs := map[string]bool{}, map[netip.Addr]bool{s.elsewhere(): true}
		for _, p := range Parts(s) {
			for _, f := range p.Faults {
				if names[f.Name] || addrs[f.Addr] || !s.Prefix().Contains(f.Addr) || f.Wire == "" {
					t.Errorf("%v: %s at %v: %q", s, f.Name, f.Addr, f.Wire)
				}
				names[f.Name], addrs[f.Addr] = true, true
			}
		}
		if !s.Prefix().Contains(s.elsewhere()) {
			t.Errorf("%v: %v is not in %v", s, s.elsewhere(), s.Prefix())
		}
	}
}

// The table says what it is for: every key of a rule, every outcome that can be had from
// a peer, and an end for each request.
func TestTheTableIsComplete(t *testing.T) {
	elsewhere := map[string]string{"name": "", "to": "", "from": "an asker"}
	for _, s := range sites {
		text, seen := "", map[stats.Outcome]bool{}
		for _, p := range Parts(s) {
			text += string(p.Rules())
			for _, f := range p.Faults {
				ends := 0
				for _, w := range f.want {
					seen[w.outcome] = true
					if w.outcome.Final() {
						ends += w.n
					}
				}
				if ends != p.Rounds {
					t.Errorf("%v, %s: %d requests have an end, of %d", s, f.Name, ends, p.Rounds)
				}
			}
		}
		for _, k := range rules.Keys() {
			if _, ok := elsewhere[k.Name]; !ok && !strings.Contains(text, k.Name+":") {
				t.Errorf("%v: no fault is about %s", s, k.Name)
			}
		}
		for o := range stats.Outcomes {
			switch o {
			case stats.Reordered: // told by the order
			case stats.SendError, stats.LocalDrop: // of this host
			case stats.Forged: // the server tells the truth about who asked
			default:
				if !seen[o] {
					t.Errorf("%v: no fault leads to %v", s, o)
				}
			}
		}
	}
}

func ExampleParts() {
	site := Site{IPv6: false, On: TUN, Backend: "epoll"}
	for _, part := range Parts(site) {
		fmt.Println(part.Name, part.Server, part.Client, len(part.Faults) > 0)
	}
	// Output:
	// steady [--rate 0] [--interval 100ms --timeout 3s] true
	// late [--rate 0] [--interval 3s --timeout 100ms] true
	// many at once [--rate 0] [--interval 2ms --timeout 3s] true
	// throttled [--rate 1] [--interval 2ms --timeout 300ms] true
}
