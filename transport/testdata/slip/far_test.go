package slip_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// far is the other end of a line: the master of a pseudo-terminal, which has no
// lines. It reads byte by byte, so that it does not read beyond a frame.
type far struct {
	mu     sync.Mutex // of Recv
	master int        // -1 once closed
	frame  []byte     // what has come of it
	buf    [1]byte
}

// openFar makes a pseudo-terminal (pty(7)) and names the terminal at its end.
func openFar() (f *far, terminal string, err error) {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", fmt.Errorf("/dev/ptmx: %w", err)
	}
	number, err := unix.IoctlGetUint32(master, unix.TIOCGPTN)
	if err = errors.Join(err, unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0)); err != nil {
		unix.Close(master)
		return nil, "", err
	}
	return &far{master: master}, fmt.Sprintf("/dev/pts/%d", number), nil
}

func (f *far) FD() int        { return f.master }
func (f *far) BatchSize() int { return 1 }

func (f *far) Recv(ms []transport.Message) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(ms) > 0 {
		if _, err := unix.Read(f.master, f.buf[:]); err == unix.EAGAIN {
			break
		} else if err != nil {
			return 0, err
		}
		f.frame = append(f.frame, f.buf[0])
		if f.buf[0] != 0xc0 {
			continue
		}
		packet := unescape(f.frame[:len(f.frame)-1])
		f.frame = f.frame[:0]
		if len(packet) == 0 {
			continue
		}
		n := copy(ms[0].Buf, packet)
		ms[0] = transport.Message{Buf: ms[0].Buf, Off: 20, N: n - 20, TOS: packet[1], TTL: packet[8],
			Peer:  netip.AddrPortFrom(netip.AddrFrom4([4]byte(packet[12:])), 0),
			Local: netip.AddrFrom4([4]byte(packet[16:]))}
		return 1, nil
	}
	return 0, nil
}

func (f *far) Send(ms []transport.Message) (int, error) {
	if len(ms) == 0 {
		return 0, nil
	}
	ttl := ms[0].TTL
	if ttl == 0 {
		ttl = 255
	}
	return 1, f.write(frame(packet(ms[0].Bytes(), farAddr, ms[0].Peer.Addr(), ttl)))
}

// write writes bytes, for all of which there is room.
func (f *far) write(b []byte) error {
	if n, err := unix.Write(f.master, b); n != len(b) || err != nil {
		return fmt.Errorf("wrote %d of %d bytes: %v", n, len(b), err)
	}
	return nil
}

func (f *far) Close() error {
	if f.master < 0 {
		return net.ErrClosed
	}
	err := unix.Close(f.master)
	f.master = -1
	return err
}

// packet puts an IPv4 header in front of a message.
func packet(message []byte, from, to netip.Addr, ttl uint8) []byte {
	p := []byte{0x45, 0, 0, 0, 0, 1, 0, 0, ttl, 1, 0, 0}
	binary.BigEndian.PutUint16(p[2:], uint16(20+len(message)))
	p = append(append(p, from.AsSlice()...), to.AsSlice()...)
	setChecksum(p)
	return append(p, message...)
}

// setChecksum sets that of a header, however long it says it is (RFC 1071).
func setChecksum(p []byte) {
	p[10], p[11] = 0, 0
	sum := uint32(0)
	for i := 0; i < int(p[0]&0xf)*4; i += 2 {
		sum += uint32(p[i])<<8 + uint32(p[i+1])
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(p[10:], ^uint16(sum>>16+sum))
}

// frame is RFC 1055 read aloud.
func frame(packet []byte) (f []byte) {
	for _, c := range packet {
		switch c {
		case 0xc0:
			f = append(f, 0xdb, 0xdc)
		case 0xdb:
			f = append(f, 0xdb, 0xdd)
		default:
			f = append(f, c)
		}
	}
	return append(f, 0xc0)
}

func unescape(frame []byte) (p []byte) {
	for i := 0; i < len(frame); i++ {
		c := frame[i]
		if c == 0xdb {
			i++
			c = map[byte]byte{0xdc: 0xc0, 0xdd: 0xdb}[frame[i]]
		}
		p = append(p, c)
	}
	return p
}
