package icmp

import "golang.org/x/net/bpf"

// ICMPv6 types (RFC 4443) that the filters know. The errors are numbered from
// destination unreachable to parameter problem.
const (
	type6Unreachable      = 1
	type6ParameterProblem = 4
	type6EchoRequest      = 128
	type6EchoReply        = 129
)

// What an ICMPv6 error quotes is 8 bytes into it and begins with an IPv6 header
// (RFC 8200, 3), behind which a fragment header (4.5) may come.
const (
	quoted6Next       = 8 + 6
	quoted6           = 8 + 40      // what follows the IPv6 header
	quoted6FragmentAt = quoted6 + 2 // the offset, in the upper 13 of 16 bits
	quoted6Fragment   = quoted6 + 8 // what follows the fragment header
	fragmentOffset    = 0xfff8
	nextFragment      = 44
	nextICMPv6        = 58
)

// EchoReplyFilter6 returns a Config.Filter for "ip6:ipv6-icmp" that passes what
// EchoReplyFilter does for "ip4:icmp". What it looks at begins with the ICMPv6
// message.
func EchoReplyFilter6(identifier uint16) ([]bpf.RawInstruction, error) {
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: type6EchoReply, SkipTrue: 3},
		bpf.LoadAbsolute{Off: 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(identifier), SkipTrue: 1},
		bpf.RetConstant{Val: pass},
		bpf.RetConstant{Val: drop},
	})
}

// ProbeFilter6 passes what EchoReplyFilter6 passes, and the ICMPv6 errors that
// quote an echo request with this identifier: destination unreachable, packet
// too big, time exceeded and parameter problem. The request may have been sent
// in fragments, but for that it has no extension headers.
func ProbeFilter6(identifier uint16) ([]bpf.RawInstruction, error) {
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadConstant{Dst: bpf.RegX, Val: 0}, // X: the message with the identifier
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: type6EchoReply, SkipTrue: 13}, // to the identifier
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: type6Unreachable, SkipTrue: 15},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: type6ParameterProblem, SkipTrue: 14},
		bpf.LoadConstant{Dst: bpf.RegX, Val: quoted6},
		bpf.LoadAbsolute{Off: quoted6Next, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: nextICMPv6, SkipTrue: 6},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: nextFragment, SkipTrue: 10},
		bpf.LoadAbsolute{Off: quoted6FragmentAt, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: fragmentOffset, SkipTrue: 8}, // not the first
		bpf.LoadAbsolute{Off: quoted6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: nextICMPv6, SkipTrue: 6},
		bpf.LoadConstant{Dst: bpf.RegX, Val: quoted6Fragment},
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: type6EchoRequest, SkipTrue: 3},
		bpf.LoadIndirect{Off: 4, Size: 2}, // of the reply, or of the quoted request
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(identifier), SkipTrue: 1},
		bpf.RetConstant{Val: pass},
		bpf.RetConstant{Val: drop},
	})
}
