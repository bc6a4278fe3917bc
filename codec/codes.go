package codec

import "strconv"

// Codes of a [DestinationUnreachable] message in ICMPv4 (RFC 792; RFC 1122,
// 3.2.2.1; RFC 1812, 5.2.7.1).
const (
	NetUnreachableV4 uint8 = iota
	HostUnreachableV4
	ProtocolUnreachableV4
	PortUnreachableV4
	FragmentationNeededV4 // Message.MTU tells the size that fits (RFC 1191)
	SourceRouteFailedV4
	NetUnknownV4
	HostUnknownV4
	SourceHostIsolatedV4
	NetProhibitedV4
	HostProhibitedV4
	NetUnreachableForTOSV4
	HostUnreachableForTOSV4
	ProhibitedV4
	PrecedenceViolationV4
	PrecedenceCutoffV4
)

// Codes of a [DestinationUnreachable] message in ICMPv6 (RFC 4443, 3.1; 7: RFC
// 6550; 8: RFC 8883).
const (
	NoRouteV6 uint8 = iota
	ProhibitedV6
	BeyondScopeV6
	AddressUnreachableV6
	PortUnreachableV6
	SourcePolicyV6
	RejectRouteV6
	SourceRoutingHeaderV6
	HeadersTooLongV6
)

// Codes of a [TimeExceeded] message, the same in ICMPv4 and ICMPv6.
const (
	HopLimitExceeded uint8 = iota
	ReassemblyTimeExceeded
)

// namesV4 and namesV6 are what the RFCs call the codes of a type.
var (
	namesV4 = [len(types)][]string{
		DestinationUnreachable: {
			NetUnreachableV4:        "net unreachable",
			HostUnreachableV4:       "host unreachable",
			ProtocolUnreachableV4:   "protocol unreachable",
			PortUnreachableV4:       "port unreachable",
			FragmentationNeededV4:   "fragmentation needed and DF set",
			SourceRouteFailedV4:     "source route failed",
			NetUnknownV4:            "destination network unknown",
			HostUnknownV4:           "destination host unknown",
			SourceHostIsolatedV4:    "source host isolated",
			NetProhibitedV4:         "communication with destination network administratively prohibited",
			HostProhibitedV4:        "communication with destination host administratively prohibited",
			NetUnreachableForTOSV4:  "network unreachable for type of service",
			HostUnreachableForTOSV4: "host unreachable for type of service",
			ProhibitedV4:            "communication administratively prohibited",
			PrecedenceViolationV4:   "host precedence violation",
			PrecedenceCutoffV4:      "precedence cutoff in effect",
		},
		TimeExceeded:      {HopLimitExceeded: "time to live exceeded in transit", ReassemblyTimeExceeded: "fragment reassembly time exceeded"},
		ParameterProblem:  {"pointer indicates the error", "missing a required option", "bad length"},
		Redirect:          {"redirect for the network", "redirect for the host", "redirect for the type of service and network", "redirect for the type of service and host"},
		ExtendedEchoReply: extendedNames,
	}
	namesV6 = [len(types)][]string{
		DestinationUnreachable: {
			NoRouteV6:             "no route to destination",
			ProhibitedV6:          "communication with destination administratively prohibited",
			BeyondScopeV6:         "beyond scope of source address",
			AddressUnreachableV6:  "address unreachable",
			PortUnreachableV6:     "port unreachable",
			SourcePolicyV6:        "source address failed ingress/egress policy",
			RejectRouteV6:         "reject route to destination",
			SourceRoutingHeaderV6: "error in source routing header",
			HeadersTooLongV6:      "headers too long",
		},
		TimeExceeded: {HopLimitExceeded: "hop limit exceeded in transit", ReassemblyTimeExceeded: "fragment reassembly time exceeded"},
		ParameterProblem: { // RFC 4443, 3.4; 3: RFC 7112; 4: RFC 8754; from 5: RFC 8883
			"erroneous header field encountered",
			"unrecognized next header type encountered",
			"unrecognized IPv6 option encountered",
			"first fragment has incomplete IPv6 header chain",
			"SR upper-layer header error",
			"unrecognized next header type encountered by intermediate node",
			"extension header too big",
			"extension header chain too long",
			"too many extension headers",
			"too many options in extension header",
			"option too big",
		},
		ExtendedEchoReply: extendedNames,
	}
	extendedNames = []string{"no error", "malformed query", "no such interface", "no such table entry", "multiple interfaces satisfy query"}
)

// NameV4 returns what the RFCs call an ICMPv4 message of this type and code,
// "host unreachable" for instance. Where only the type has a name, that stands
// in front of the code: "echo reply, code 7".
func (t Type) NameV4(code uint8) string { return t.nameOf(code, &namesV4) }

// NameV6 is NameV4 for ICMPv6.
func (t Type) NameV6(code uint8) string { return t.nameOf(code, &namesV6) }

func (t Type) nameOf(code uint8, names *[len(types)][]string) string {
	switch {
	case int(t) < len(names) && int(code) < len(names[t]):
		return names[t][code]
	case int(t) < len(names) && code == 0:
		return t.String()
	}
	return t.String() + ", code " + strconv.Itoa(int(code))
}
