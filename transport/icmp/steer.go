package icmp

import (
	"fmt"

	"golang.org/x/net/bpf"
)

// fromNetworkHeader is the offset, for a load, from which the kernel counts from the
// IP header on, which is not among what a raw socket for IPv6 receives (SKF_NET_OFF in
// linux/filter.h).
const fromNetworkHeader = 0xfff00000

// SteerFilter returns a Config.Filter for "ip4:icmp" that passes one share of all
// messages: of n sockets with the filters 0 to n-1 and the same key, each message
// reaches exactly one. So each socket can have a loop, and a core, of its own:
//
//	for i := range n {
//		filter, err := icmp.SteerFilter(i, n, key)
//		...
//		sockets[i], err = transport.Open("ip4:icmp", "", &transport.Config{
//			Filter:  filter,
//			Options: icmp.Options{Types: []uint8{8}},
//		})
//	}
//
// The share is a hash of source, destination and identifier: what one prober sends to
// one address stays together and in order, and so do messages that are the same.
// Those who do not know the key cannot aim at one socket.
//
// It is an error if i is not below n, or n is not 1 to MaxSteered.
func SteerFilter(i, n int, key uint32) ([]bpf.RawInstruction, error) {
	if err := checkShare(i, n); err != nil {
		return nil, err
	}
	var p []bpf.Instruction
	p = append(p, bpf.LoadConstant{Val: key}, bpf.StoreScratch{Src: bpf.RegA, N: hash})
	p = append(p, mix(bpf.LoadAbsolute{Off: 12, Size: 4})...) // the source
	p = append(p, mix(bpf.LoadAbsolute{Off: 16, Size: 4})...) // the destination
	p = append(p, bpf.LoadMemShift{Off: 0})                   // X: the ICMP message, past the header
	p = append(p, mix(bpf.LoadIndirect{Off: 4, Size: 2})...)  // the identifier
	return bpf.Assemble(append(p, share(i, n)...))
}

// SteerFilter6 returns a Config.Filter for "ip6:ipv6-icmp" that does what SteerFilter
// does for "ip4:icmp".
func SteerFilter6(i, n int, key uint32) ([]bpf.RawInstruction, error) {
	if err := checkShare(i, n); err != nil {
		return nil, err
	}
	var p []bpf.Instruction
	p = append(p, bpf.LoadConstant{Val: key}, bpf.StoreScratch{Src: bpf.RegA, N: hash})
	for off := uint32(8); off < 40; off += 4 { // the source and the destination (RFC 8200, 3)
		p = append(p, mix(bpf.LoadAbsolute{Off: fromNetworkHeader + off, Size: 4})...)
	}
	// A message may be too short for an identifier, and is somebody's all the same.
	identifier := mix(bpf.LoadAbsolute{Off: 4, Size: 2})
	p = append(p, bpf.LoadExtension{Num: bpf.ExtLen},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: 6, SkipTrue: uint8(len(identifier))})
	p = append(p, identifier...)
	return bpf.Assemble(append(p, share(i, n)...))
}

// MaxSteered is the most sockets that can share messages.
const MaxSteered = 1 << 10

func checkShare(i, n int) error {
	if n < 1 || n > MaxSteered || i < 0 || i >= n {
		return fmt.Errorf("icmp: share %d of %d: want 1 to %d shares, counted from 0", i, n, MaxSteered)
	}
	return nil
}

// hash is the place in the scratch memory that holds it.
const hash = 0

// mix hashes what the instruction loads into A. Each round is a step of the end of
// MurmurHash3, of which classic BPF has all it takes.
func mix(load bpf.Instruction) []bpf.Instruction {
	return []bpf.Instruction{
		load,
		bpf.LoadScratch{Dst: bpf.RegX, N: hash},
		bpf.ALUOpX{Op: bpf.ALUOpXor},
		bpf.ALUOpConstant{Op: bpf.ALUOpMul, Val: 0x85ebca6b},
		bpf.TAX{},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 13},
		bpf.ALUOpX{Op: bpf.ALUOpXor},
		bpf.StoreScratch{Src: bpf.RegA, N: hash},
	}
}

// share ends a filter: it passes what has the hash of this share.
func share(i, n int) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadScratch{Dst: bpf.RegA, N: hash},
		bpf.ALUOpConstant{Op: bpf.ALUOpMul, Val: 0xc2b2ae35},
		bpf.TAX{},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 16},
		bpf.ALUOpX{Op: bpf.ALUOpXor},
		bpf.ALUOpConstant{Op: bpf.ALUOpMod, Val: uint32(n)},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(i), SkipTrue: 1},
		bpf.RetConstant{Val: pass},
		bpf.RetConstant{Val: drop},
	}
}
