package tun

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/hashicorp/go-multierror"
	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/sock"
)

// Device is what opening the network "tun" returns: the transport of the first
// queue, and the device as a whole. It is found behind wrappers as well:
//
//	d, _ := transport.As[*tun.Device](t)
type Device struct {
	queue
	others []*queue
	link   *link
}

var (
	_ transport.Transport   = (*Device)(nil)
	_ transport.DropCounter = (*Device)(nil)
)

// Name returns the name of the interface: the kernel's choice if the address
// left it open.
func (d *Device) Name() string { return d.name }

// Queues returns the transports of all queues; the device itself is the first.
// Closing another closes that queue only, and what would have been received on
// it is received on those that are left.
func (d *Device) Queues() []transport.Transport {
	all := []transport.Transport{d}
	for _, q := range d.others {
		all = append(all, q)
	}
	return all
}

// Up switches the device on and gives it the addresses and routes of the Options
// that it lacks. Open has done so; call it again when the device was down. What is
// as it should be stays untouched, and what of the rest fails is reported all
// together, with the errors of rtnetlink(7). It may be called from any goroutine
// and in any network namespace; after Close it is net.ErrClosed.
func (d *Device) Up() error {
	err := d.link.up()
	if errors.Is(err, net.ErrClosed) {
		return net.ErrClosed
	}
	return opError("up", d.name, err)
}

// Dropped returns how many packets the kernel has not delivered since the device
// was opened because a queue was full, modulo 1<<32 (TX dropped of all queues in
// `ip -s link`). The error is that of rtnetlink(7); after Close it is
// net.ErrClosed.
func (d *Device) Dropped() (uint32, error) {
	n, err := d.link.dropped()
	if errors.Is(err, net.ErrClosed) {
		return 0, net.ErrClosed
	}
	return n, opError("read", d.name, err)
}

// Close closes all queues, so that the kernel removes the device unless it was
// made to persist.
func (d *Device) Close() error {
	err := d.queue.Close()
	if errors.Is(err, net.ErrClosed) {
		return err
	}
	var errs *multierror.Error
	if err != nil {
		errs = multierror.Append(errs, err)
	}
	for _, q := range d.others {
		if err := q.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = multierror.Append(errs, err)
		}
	}
	d.link.close()
	return single(errs)
}

// openDevice makes, finds or adopts the device and configures it.
func openDevice(name string, cfg *transport.Config, o Options) (*Device, error) {
	batch := cfg.Batch
	if batch == 0 {
		batch = defaultBatch
	}
	var fds []int
	var err error
	if len(cfg.Files) > 0 {
		fds, name, err = adoptAll(name, cfg.Files)
	} else {
		fds, name, err = attachAll(name, cfg)
	}
	if err != nil {
		return nil, err
	}
	d := &Device{}
	d.init(fds[0], name, batch)
	for _, fd := range fds[1:] {
		q := &queue{}
		q.init(fd, name, batch)
		d.others = append(d.others, q)
	}
	if d.link, err = openLink(name, o); err == nil {
		err = d.link.configure()
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (q *queue) init(fd int, name string, batch int) {
	q.name, q.batch = name, batch
	q.fd.Store(int64(fd))
}

// clone is the file by which devices are made (Documentation/networking/tuntap.rst).
const clone = "/dev/net/tun"

// attachAll opens the queues of a device, and returns its name in full.
func attachAll(name string, cfg *transport.Config) (fds []int, full string, err error) {
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if cfg.Queues > 1 {
		flags |= unix.IFF_MULTI_QUEUE
	}
	if name == "" {
		name = "tun%d"
	}
	for len(fds) == 0 || len(fds) < cfg.Queues {
		fd, full, err := attach(name, flags)
		if err != nil {
			closeAll(fds)
			if len(fds) > 0 {
				err = fmt.Errorf("queue %d: %w", len(fds), err)
			}
			return nil, "", err
		}
		fds, name = append(fds, fd), full // the next queue is of the same device
	}
	return fds, name, nil
}

// adoptAll takes the queues of a device that others have opened.
func adoptAll(name string, files []*os.File) (fds []int, full string, err error) {
	for i, f := range files {
		fd, err := sock.Take(f)
		if err == nil {
			fds = append(fds, fd)
			full, err = adopted(fd, cmp.Or(full, name), len(files) > 1)
		}
		if err != nil {
			closeAll(fds)
			return nil, "", fmt.Errorf("Config.Files[%d]: %w", i, err)
		}
	}
	return fds, full, nil
}

// adopted returns the name of the device that the descriptor is a queue of, if that
// is the one that is wanted and its packets come as this package has them. Whether it
// has IFF_NO_PI as well cannot be told: the bit means IFF_NOFILTER in the answer.
func adopted(fd int, want string, multi bool) (name string, err error) {
	request, err := unix.NewIfreq("")
	if err != nil {
		return "", err
	}
	if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, request); err != nil {
		return "", fmt.Errorf("%w (want a queue of a TUN device)", os.NewSyscallError("ioctl TUNGETIFF", err))
	}
	name = request.Name()
	before, after, open := strings.Cut(want, "%d")
	fits := name == want || want == "" ||
		open && len(name) >= len(before)+len(after) && strings.HasPrefix(name, before) && strings.HasSuffix(name, after)
	switch flags := request.Uint16(); {
	case flags&unix.IFF_TUN == 0:
		return "", fmt.Errorf("%s is a TAP device: want a TUN device", name)
	case flags&unix.IFF_VNET_HDR != 0:
		return "", fmt.Errorf("%s puts a header before each packet (IFF_VNET_HDR): want none", name)
	case multi && flags&unix.IFF_MULTI_QUEUE == 0:
		return "", fmt.Errorf("%s has one queue: want one file", name)
	case !fits:
		return "", fmt.Errorf("it is a queue of the device %s: want %s", name, want)
	}
	return name, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// attach opens one queue of a device, which it makes if there is none of that
// name, and returns the name in full.
func attach(name string, flags uint16) (fd int, full string, err error) {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return -1, "", fmt.Errorf("interface name %q: %w", name, err)
	}
	request.SetUint16(flags)
	fd, err = unix.Open(clone, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, "", explainOpen(&os.PathError{Op: "open", Path: clone, Err: err})
	}
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		unix.Close(fd)
		return -1, "", explainAttach(os.NewSyscallError("ioctl TUNSETIFF", err))
	}
	return fd, request.Name(), nil
}

// explainOpen adds to a refusal what can be done.
func explainOpen(err error) error {
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return &transport.PermissionError{Err: err, Advice: "let everybody open it, as udev does: `sudo chmod 0666 " + clone +
			"`; the kernel still asks for CAP_NET_ADMIN. In a container its devices have to include it"}
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%w (load the driver by `sudo modprobe tun`; a container has to be given the device, by --device %s for instance)", err, clone)
	}
	return err
}

func explainAttach(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return &transport.PermissionError{Capability: "CAP_NET_ADMIN", Err: err, Advice: sock.Grant("CAP_NET_ADMIN") +
			", or have the device made for this user by `sudo ip tuntap add dev NAME mode tun user USER`"}
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w (another program has opened the device)", err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w (the interface is no TUN device or differs in being multi-queue, or the name is none for an interface)", err)
	}
	return err
}

// single is the error of several; one is returned as itself.
func single(errs *multierror.Error) error {
	if errs == nil {
		return nil
	}
	if len(errs.Errors) == 1 {
		return errs.Errors[0]
	}
	return errs
}
