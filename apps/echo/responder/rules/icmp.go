package rules

import (
	"strings"

	"iomux/codec"
)

// errorTypes are the types of ICMP errors that can be written by name.
var errorTypes = []codec.Type{
	codec.DestinationUnreachable, codec.PacketTooBig, codec.TimeExceeded, codec.ParameterProblem,
	codec.Redirect, codec.SourceQuench,
}

// icmp is a type and code on the wire.
type icmp struct{ kind, code uint8 }

// echoRequest is the type of an echo request in IPv4 and in IPv6.
var echoRequest = [2]uint8{8, 128}

// errorName is what a name stands for in IPv4 and in IPv6.
type errorName struct {
	icmp     [2]icmp
	known    [2]bool
	typeOnly bool // a code may be given besides
}

// errorNames are the names of the RFCs, and some that are more usual, in small
// letters.
var errorNames = func() map[string]*errorName {
	names := make(map[string]*errorName)
	add := func(name string, family int, m icmp, typeOnly bool) {
		name = strings.ToLower(name)
		n := names[name]
		if n == nil {
			n = &errorName{typeOnly: typeOnly}
			names[name] = n
		}
		n.known[family], n.icmp[family] = true, m
	}
	for family := range 2 {
		number, name := codec.Type.NumberV4, codec.Type.NameV4
		if family == 1 {
			number, name = codec.Type.NumberV6, codec.Type.NameV6
		}
		for _, t := range errorTypes {
			if number(t) < 0 {
				continue
			}
			m := icmp{kind: uint8(number(t))}
			add(t.String(), family, m, true)
			for code := range 32 {
				m.code = uint8(code)
				if s := name(t, m.code); s != t.String() && !strings.HasPrefix(s, t.String()+", code") {
					add(s, family, m, false)
				}
			}
		}
	}
	alias := func(name, v4, v6 string) {
		n := &errorName{}
		for family, of := range []string{v4, v6} {
			if known := names[of]; known != nil {
				n.icmp[family], n.known[family] = known.icmp[family], true
			}
		}
		names[name] = n
	}
	alias("fragmentation needed", "fragmentation needed and df set", "packet too big")
	alias("packet too big", "fragmentation needed and df set", "packet too big")
	alias("ttl exceeded", "time to live exceeded in transit", "hop limit exceeded in transit")
	alias("administratively prohibited", "communication administratively prohibited", "communication with destination administratively prohibited")
	return names
}()

// lookUpError returns what a name stands for: case does not matter, and hyphens are as
// good as blanks.
func lookUpError(name string) *errorName {
	return errorNames[strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(name, "-", " "), "_", " "))]
}

// hasMTU tells whether errors of that type and code have an MTU.
func (m icmp) hasMTU(family int) bool {
	return family == 0 && m == icmp{3, codec.FragmentationNeededV4} || family == 1 && m.kind == 2
}
