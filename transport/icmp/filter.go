package icmp

import "golang.org/x/net/bpf"

// ICMP types (RFC 792) that the filters know.
const (
	typeEchoReply        = 0
	typeUnreachable      = 3
	typeSourceQuench     = 4
	typeRedirect         = 5
	typeEchoRequest      = 8
	typeTimeExceeded     = 11
	typeParameterProblem = 12
)

// What a filter returns: the number of bytes to keep, here those of the longest
// IPv4 packet. A load past the end of the packet ends the program with 0.
const (
	pass = 0xffff
	drop = 0
)

// EchoReplyFilter returns a Config.Filter for "ip4:icmp" that passes the echo
// replies with one identifier and nothing else.
//
// Every raw socket is offered every reply. Without a filter, several probers in
// one network namespace fill each other's receive buffers and lose replies.
func EchoReplyFilter(identifier uint16) ([]bpf.RawInstruction, error) {
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadMemShift{Off: 0}, // X: the ICMP message, past the IPv4 header
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: typeEchoReply, SkipTrue: 3},
		bpf.LoadIndirect{Off: 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(identifier), SkipTrue: 1},
		bpf.RetConstant{Val: pass},
		bpf.RetConstant{Val: drop},
	})
}

// ProbeFilter passes what EchoReplyFilter passes, and the ICMP errors that
// quote an echo request with this identifier: destination unreachable, source
// quench, redirect, time exceeded and parameter problem.
func ProbeFilter(identifier uint16) ([]bpf.RawInstruction, error) {
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadMemShift{Off: 0}, // X: the ICMP message, past the IPv4 header
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeEchoReply, SkipTrue: 15}, // to the identifier
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeUnreachable, SkipTrue: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeSourceQuench, SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeRedirect, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeTimeExceeded, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: typeParameterProblem, SkipTrue: 13},
		bpf.LoadIndirect{Off: 8 + 9, Size: 1}, // the quoted header's protocol
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 1, SkipTrue: 11},
		bpf.LoadIndirect{Off: 8, Size: 1}, // its length, in words
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0x0f},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 2},
		bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 8},
		bpf.ALUOpX{Op: bpf.ALUOpAdd},
		bpf.TAX{}, // X: the quoted ICMP message
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: typeEchoRequest, SkipTrue: 3},
		bpf.LoadIndirect{Off: 4, Size: 2}, // of the reply, or of the quoted request
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(identifier), SkipTrue: 1},
		bpf.RetConstant{Val: pass},
		bpf.RetConstant{Val: drop},
	})
}
