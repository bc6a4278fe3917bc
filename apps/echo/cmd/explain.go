package cmd

import (
	"fmt"
	"sync"

	"iomux/mux"
	"iomux/transport"
)

// narrator tells the calls of one side of the demo as they return. What a step
// is for is told the first time that either side takes it. A nil narrator tells
// nothing.
type narrator struct {
	out  *lines
	side string
}

// purposes of the steps, in the words of the lesson.
var purposes = map[string]string{
	"socket":  "A raw ICMP socket. It never blocks: when there is nothing to receive, it says so.",
	"create":  "The multiplexer, which watches many descriptors at once.",
	"add":     "From now on the multiplexer watches the socket, and names it by the token.",
	"modify":  "The multiplexer watches the same socket for something else.",
	"wait":    "Sleep until a watched descriptor is ready, or the time is over.",
	"receive": "Take all messages that are waiting, as many as fit a batch, with one system call.",
	"send":    "Send a whole batch with one system call.",
	"wake":    "The wait, or the next one, is to end at once: the loop shall stop.",
	"remove":  "The multiplexer lets go of the socket, before its number can be given to another file.",
	"close":   "Give back what was opened, in reverse order.",
}

// tell prints one call in a single write.
func (n *narrator) tell(step, call string) {
	n.out.mu.Lock()
	defer n.out.mu.Unlock()
	n.tellLocked(step, call)
}

func (n *narrator) tellLocked(step, call string) {
	if !n.out.told[step] {
		n.out.told[step] = true
		call += "\n                 # " + purposes[step]
	}
	n.out.writeLocked(fmt.Appendf(nil, "%-7s %-8s %s\n", n.side, step, call))
}

func (n *narrator) socket(t transport.Transport) {
	if n != nil {
		n.tell("socket", fmt.Sprintf("socket(AF_INET, SOCK_RAW|SOCK_NONBLOCK|SOCK_CLOEXEC, IPPROTO_ICMP) = descriptor %d", t.FD()))
	}
}

// creation is the system call behind each of the backends known here.
var creation = map[string]string{
	"epoll":  "epoll_create1(EPOLL_CLOEXEC): the kernel keeps the set of descriptors",
	"poll":   "no call: poll(2) is given the whole array of descriptors in every wait",
	"select": "no call: select(2) is given three bitmaps of descriptors in every wait",
}

func (n *narrator) create(backend string) {
	if n != nil {
		call, known := creation[backend]
		if !known {
			call = "opened"
		}
		n.tell("create", backend+" "+call)
	}
}

func (n *narrator) mux(c mux.Call) { n.tell(c.Op, c.String()) }

func (n *narrator) transport(c transport.Call) {
	switch c.Op {
	case "recv":
		n.tell("receive", c.String())
	case "send":
		n.tellLocked("send", c.String())
	default:
		n.tell(c.Op, c.String())
	}
}

// trace tells the calls of t. The other side prints nothing while a message is
// sent, or else its receipt might be told before it is said to have been sent.
func (n *narrator) trace(t transport.Transport) transport.Transport {
	return sendLocked{transport.Trace(t, n.transport), &n.out.mu}
}

type sendLocked struct {
	transport.Transport
	mu *sync.Mutex
}

func (t sendLocked) Send(ms []transport.Message) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.Transport.Send(ms)
}

func (t sendLocked) Unwrap() transport.Transport { return t.Transport }
