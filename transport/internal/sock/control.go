package sock

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// each yields the header and the data of every control message (cmsg(3)).
func (p *Packet) each(yield func(unix.Cmsghdr, []byte) bool) {
	for rest := p.controls()[:p.controlLen]; len(rest) >= unix.SizeofCmsghdr; {
		h, data, next, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil || !yield(h, data) {
			return // the last one may be cut off
		}
		rest = next
	}
}

// controls is the space for control messages.
func (p *Packet) controls() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&p.control)), controlSize)
}

// append adds a control message and returns the space for its data.
func (p *Packet) append(level, kind int32, size int) []byte {
	b := p.controls()[p.controlLen:]
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(size))
	p.controlLen += unix.CmsgSpace(size)
	return b[unix.CmsgLen(0):unix.CmsgLen(size)]
}

// appendUint32 adds a control message with a number.
func (p *Packet) appendUint32(level, kind int32, v uint32) {
	binary.NativeEndian.PutUint32(p.append(level, kind, 4), v)
}
