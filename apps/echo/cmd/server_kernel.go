package cmd

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"iomux/apps/echo/responder"
)

// rawNetwork is the transport of a raw ICMPv4 socket, beside which the kernel
// answers too.
const rawNetwork = "ip4:icmp"

// switchOf is the kernel's switch for the replies of a family.
var switchOf = map[responder.Family]string{
	responder.IPv4: "net.ipv4.icmp_echo_ignore_all",
	responder.IPv6: "net.ipv6.icmp.echo_ignore_all",
}

// kernelReplies sees to it that the kernel does not answer as well.
type kernelReplies struct {
	mu    sync.Mutex
	taken *responder.Takeover
}

// leaveToUs returns an error if the kernel answers and may not be stopped, and tells
// what it found.
func (k *kernelReplies) leaveToUs(takeOver bool, families []responder.Family, stderr io.Writer) (err error) {
	if len(families) == 0 {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if takeOver {
		if k.taken, err = responder.TakeOver(families...); err != nil {
			return fmt.Errorf("--take-over: %w", err)
		}
		if found := k.taken.Note(); found != "" {
			note(stderr, "found that %s", found)
		}
		return nil
	}
	var errs []error
	for _, f := range families {
		answers, err := responder.KernelReplies(f)
		if err == nil && answers {
			err = fmt.Errorf(`the kernel answers %v echo requests too (%s=0), so clients would see every reply twice; switch that off
  while the server runs, by the option --take-over, or
  until the machine restarts, by sudo sysctl %[2]s=1`, f, switchOf[f])
			if len(families) > 1 {
				err = fmt.Errorf("%w, or\n  answer the other family only, by the option -%d", err, 10-int(f))
			}
		}
		errs = append(errs, err)
	}
	if err := join(errs...); err != nil {
		return err
	}
	if found := responder.Leftover(families...); found != "" {
		note(stderr, "found that %s", found)
		note(stderr, "with --take-over, this server restores it when it ends")
	}
	return nil
}

// restore undoes leaveToUs. It may be called from any goroutine and more than
// once.
func (k *kernelReplies) restore() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.restoreLocked()
}

func (k *kernelReplies) restoreLocked() error {
	if k.taken == nil {
		return nil
	}
	return k.taken.Restore()
}

// restoreAtOnce does not wait for a takeover that is stuck halfway; the next
// server finds what it has left behind.
func (k *kernelReplies) restoreAtOnce() {
	if k.mu.TryLock() {
		defer k.mu.Unlock()
		k.restoreLocked()
	}
}

// errNothingLeft is the end of a server that has nothing to answer on.
var errNothingLeft = errors.New("there is no IPv4 and no IPv6 to answer on")
