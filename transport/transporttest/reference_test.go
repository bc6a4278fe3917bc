package transporttest

import (
	"bytes"
	"errors"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/transport"
	local "iomux/transport/unix"
)

// reference is a transport that has everything the suite asks about: a UNIX
// domain socket, and on it what such a socket has not, feigned. Its bug, if it
// has one, is named in [bugs].
type reference struct {
	transport.Transport
	bug   string
	other *reference
	usual uint8         // the TTL of messages that name none
	sent  atomic.Uint32 // that of the last message sent

	starved, down atomic.Bool
	reporting     bool

	// The bugs' own.
	filter  []bpf.RawInstruction
	number  int
	paused  bool
	scratch [1 << 10]byte
	extra   int // a descriptor, 0 if none
	sink    []byte
}

// reporting are Options with which a transmit stamp comes back for each message
// that is sent: a datagram with these bytes.
type reporting struct{}

var stamp = []byte("transmit stamp")

// denied is whether the system permits nobody to open a reference.
var denied atomic.Bool

func init() {
	transport.Register("reference", func(_, _ string, cfg *transport.Config) (transport.Transport, error) {
		if denied.Load() {
			return nil, refusal(os.Getenv(bugVariable), syscall.EPERM)
		}
		p, err := openReference(os.Getenv(bugVariable), cfg)
		if err != nil {
			return nil, err
		}
		return p.A, p.B.Close()
	})
}

func refusal(bug string, errno syscall.Errno) error {
	err := &net.OpError{Op: "open", Net: "reference", Err: os.NewSyscallError("socket", errno)}
	if bug != "a refusal gives no advice" {
		err.Err = &transport.PermissionError{Advice: "ask for it", Err: err.Err}
	}
	return err
}

func openReference(bug string, cfg *transport.Config) (Pair, error) {
	var own transport.Config
	if cfg != nil {
		own = *cfg
	}
	_, reports := own.Options.(reporting)
	switch {
	case bug == "it does not open":
		return Pair{}, refusal("", syscall.ENOSYS)
	case reports, bug == "Options that it does not know are accepted":
		own.Options = nil
	}
	late := own
	if bug == "the filter comes after the first message" {
		own.Filter = nil
	}
	one, two, err := local.Pair(&own)
	if err != nil {
		return Pair{}, err
	}
	a := &reference{Transport: one, usual: 64, bug: bug, reporting: reports, filter: late.Filter, number: one.FD()}
	b := &reference{Transport: two, usual: 64}
	a.other, b.other = b, a
	switch bug {
	case "the descriptor blocks":
		unix.SetNonblock(a.number, false)
	case "the descriptor survives execve(2)":
		unix.FcntlInt(uintptr(a.number), unix.F_SETFD, 0)
	case "FD is another descriptor", "Close leaves a descriptor open":
		a.extra, _ = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	case "Close leaves a goroutine":
		go func() { select {} }()
	}
	toB := func(seq, size int) transport.Message {
		payload := make([]byte, size)
		for i := range payload {
			payload[i] = byte(seq + i*7 + i>>8)
		}
		return transport.Message{Buf: payload, N: size}
	}
	toA := func(seq, size int) transport.Message { return toB(seq+100, size) }
	p := Pair{A: a, B: b, ToB: toB, ToA: toA}
	if bug == "B cannot send" {
		p.ToA = nil
	}
	return p, nil
}

func callError(op string, errno syscall.Errno) error {
	return &net.OpError{Op: op, Net: "reference", Err: os.NewSyscallError(op, errno)}
}

func (r *reference) FD() int {
	fd := r.Transport.FD()
	if r.bug == "FD is another descriptor" && fd >= 0 {
		return r.extra
	}
	return fd
}

func (r *reference) Close() error {
	err := r.Transport.Close()
	if r.bug == "a second Close succeeds" {
		return nil
	}
	return err
}

// stale is a call on the number of a closed descriptor.
func (r *reference) stale(ms []transport.Message) (int, error) {
	if len(ms) == 0 {
		return 0, nil
	}
	_, err := unix.Read(r.number, ms[0].Buf)
	if err == unix.EAGAIN || err == nil {
		return 0, nil
	}
	return 0, callError("read", err.(syscall.Errno))
}

func (r *reference) Recv(ms []transport.Message) (int, error) {
	switch r.bug {
	case "Recv panics":
		panic(r.bug)
	case "a closed transport goes on with its number":
		if r.Transport.FD() < 0 {
			return r.stale(ms)
		}
	case "an interface that is down makes waiters spin":
		if r.down.Load() {
			return 0, nil
		}
	case "an empty Recv takes a message":
		if len(ms) == 0 {
			r.Transport.Recv(make([]transport.Message, 1))
			return 0, nil
		}
	case "EINTR is returned":
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(r.FD()), Events: unix.POLLIN}}, 1); err != nil {
			return 0, callError("poll", err.(syscall.Errno))
		}
	case "Recv stops after the first message":
		if r.paused {
			r.paused = false
			return 0, nil
		}
		ms = ms[:min(len(ms), 1)]
	case "a transmit stamp stays in the queue":
		if n, _, err := unix.Recvfrom(r.FD(), r.scratch[:], unix.MSG_PEEK|unix.MSG_DONTWAIT); err == nil && bytes.Equal(r.scratch[:n], stamp) {
			return 0, nil
		}
	case "fields of an earlier message stay":
		if len(ms) > 0 {
			defer func(tos uint8) { ms[0].TOS = tos }(ms[0].TOS)
		}
	case "Recv allocates":
		r.sink = make([]byte, 1)
	}
	n, err := r.Transport.Recv(ms)
	for n == 1 && r.reporting && bytes.Equal(ms[0].Bytes(), stamp) {
		n, err = r.Transport.Recv(ms)
	}
	for i := range ms[:n] {
		ms[i].TTL = uint8(r.other.sent.Load())
	}
	if r.bug != "" {
		return r.received(ms, n, err)
	}
	return n, err
}

// received is what bugs make of messages, and of none.
func (r *reference) received(ms []transport.Message, n int, err error) (int, error) {
	if n == 0 {
		if r.bug == "an idle Recv is an error" && err == nil && len(ms) > 0 {
			return 0, callError("read", syscall.EAGAIN)
		}
		return n, err
	}
	m := &ms[0]
	switch r.bug {
	case "an answer has the TTL of its request":
		r.usual = m.TTL
	case "Recv stops after the first message":
		r.paused = true
	case "truncation is not flagged":
		m.Flags = 0
	case "Recv writes beyond Buf":
		if cap(m.Buf) > len(m.Buf) {
			m.Buf[:len(m.Buf)+1][len(m.Buf)] = 0
		}
	case "Recv replaces Buf":
		m.Buf = bytes.Clone(m.Buf)
	case "Recv clears what it does not fill":
		clear(ms[n:])
	case "the buffers of a Recv are used by the next":
		if r.sink != nil {
			clear(r.sink)
		}
		r.sink = m.Bytes()
	case "the payload begins in the header":
		m.Off, m.N = min(1, m.N), max(m.N-1, 0)
	case "Recv and Send share their memory":
		copy(r.scratch[:], m.Bytes())
		time.Sleep(10 * time.Microsecond)
		copy(m.Bytes(), r.scratch[:])
	case "the filter comes after the first message":
		if r.filter != nil {
			var filter []unix.SockFilter
			for _, ins := range r.filter {
				filter = append(filter, unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K})
			}
			unix.SetsockoptSockFprog(r.FD(), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
				&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
		}
	}
	return n, err
}

func (r *reference) Send(ms []transport.Message) (int, error) {
	if r.down.Load() && len(ms) > 0 && r.FD() >= 0 {
		if r.bug == "an interface that is down swallows messages" {
			return 1, nil
		}
		return 0, callError("write", syscall.ENETDOWN)
	}
	if r.starved.Load() && len(ms) > 0 {
		if r.bug == "ENOBUFS always means that it would block" {
			return 0, nil
		}
		return 0, callError("write", syscall.ENOBUFS)
	}
	if r.bug != "" {
		return r.badSend(ms)
	}
	return r.send(ms)
}

func (r *reference) send(ms []transport.Message) (int, error) {
	n, err := r.Transport.Send(ms)
	for i := range ms[:n] {
		ttl := ms[i].TTL
		if ttl == 0 {
			ttl = r.usual
		}
		r.sent.Store(uint32(ttl))
		if r.reporting {
			unix.Write(r.other.Transport.FD(), stamp)
		}
	}
	return n, err
}

// badSend is Send with a bug.
func (r *reference) badSend(ms []transport.Message) (int, error) {
	tooLong := func(m transport.Message) bool { return m.N > 1<<20 }
	switch r.bug {
	case "a closed transport goes on with its number":
		if r.Transport.FD() < 0 {
			return r.stale(ms)
		}
	case "Send sends Buf from its start":
		ms = slices.Clone(ms)
		for i := range ms {
			ms[i].Off = 0
		}
	case "what is past the batch counts as sent":
		if n, err := r.send(ms); n < r.BatchSize() {
			return n, err
		}
		return len(ms), nil
	case "a batch is sent backwards":
		if len(ms) <= r.BatchSize() {
			ms = slices.Clone(ms)
			slices.Reverse(ms)
		}
	case "an empty message is dropped":
		if len(ms) > 0 && ms[0].N == 0 {
			return 1, nil
		}
	case "Send changes what it sent":
		n, err := r.send(ms)
		for i := range ms[:n] {
			ms[i].ID = 0
		}
		return n, err
	case "Send looks at buffers after it has returned":
		later := slices.Clone(ms[:min(len(ms), r.BatchSize())])
		go func() {
			time.Sleep(time.Millisecond)
			r.send(later)
		}()
		return len(later), nil
	case "a full buffer is an error":
		if n, err := r.send(ms); n > 0 || err != nil || len(ms) == 0 {
			return n, err
		}
		return 0, callError("write", syscall.EAGAIN)
	case "a short send counts as a whole one":
		if n, err := r.send(ms); n == 0 {
			return n, err
		}
		return min(len(ms), r.BatchSize()), nil
	case "Send would block where there is room":
		if r.paused = !r.paused; !r.paused {
			return 0, nil
		}
	case "a bad message fails its batch":
		if i := slices.IndexFunc(ms, tooLong); i >= 0 {
			return r.send(ms[i:])
		}
	case "a bad message is skipped in silence":
		if len(ms) > 0 && tooLong(ms[0]) {
			return 1, nil
		}
	case "an error is a bare errno":
		n, err := r.send(ms)
		if op := new(net.OpError); errors.As(err, &op) {
			err = op.Err.(*os.SyscallError).Err
		}
		return n, err
	case "Send takes a pending error for its own":
		if errno, _ := unix.GetsockoptInt(r.FD(), unix.SOL_SOCKET, unix.SO_ERROR); errno != 0 {
			return 0, callError("write", syscall.Errno(errno))
		}
	case "Send swallows a pending error":
		unix.GetsockoptInt(r.FD(), unix.SOL_SOCKET, unix.SO_ERROR)
	case "Send allocates":
		r.sink = make([]byte, 1)
	case "Recv and Send share their memory":
		if len(ms) > 0 && ms[0].N < len(r.scratch) {
			n := copy(r.scratch[:], ms[0].Bytes())
			time.Sleep(10 * time.Microsecond)
			return r.send([]transport.Message{{Buf: r.scratch[:], N: n}})
		}
	}
	return r.send(ms)
}

// referenceSubject has everything.
func referenceSubject(bug string) Subject {
	network := "reference"
	if bug == "it is not registered" {
		network = "unregistered"
	}
	return Subject{
		Network: network,
		Open:    func(cfg *transport.Config) (Pair, error) { return openReference(bug, cfg) },
		MaxSize: 1 << 16, Reporting: reporting{},
		Unsendable: func(p Pair) []transport.Message { return []transport.Message{p.ToB(0, 1<<22)} },
		Starve: func(p Pair) (transport.Message, func() error, error) {
			a := p.A.(*reference)
			a.starved.Store(true)
			return p.ToB(0, 1), func() error { a.starved.Store(false); return nil }, nil
		},
		Disturb: func(p Pair) (want, err error) {
			if _, err := p.A.Send([]transport.Message{p.ToB(0, 1)}); err != nil {
				return nil, err
			}
			return unix.ECONNRESET, disconnect(p.B)
		},
		Deny: func(open func()) error {
			denied.Store(true)
			defer denied.Store(false)
			open()
			return nil
		},
		SetLink: func(p Pair, up bool) error {
			a := p.A.(*reference)
			if up && bug == "an interface that was down stays down" {
				return nil
			}
			a.down.Store(!up)
			if !up && bug == "an interface that is down makes waiters spin" {
				_, err := p.B.Send([]transport.Message{p.ToA(0, 1)})
				return err
			}
			return nil
		},
	}
}
