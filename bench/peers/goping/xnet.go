package main

import (
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// window bounds the requests of sendAndReceive in flight, whose replies the kernel's
// default receive buffer has room for.
const window = 128

type request struct {
	to  [4]byte
	seq int
}

// sendAndReceive is the prober that one writes by hand: a socket, a goroutine that
// sends, one that receives, and a map of the requests that are not answered.
func sendAndReceive(l load) (result, error) {
	conn, err := icmp.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		return result{}, err
	}
	defer conn.Close()
	var replies ipv4.ICMPFilter // without it a raw socket gets all, its own requests on loopback too
	replies.SetAll(true)
	replies.Accept(ipv4.ICMPTypeEchoReply)
	if err := conn.IPv4PacketConn().SetICMPFilter(&replies); err != nil {
		return result{}, err
	}
	p := &byHand{
		load: l, conn: conn, id: os.Getpid() & 0xffff,
		outstanding: map[request]time.Time{}, slots: make(chan struct{}, window), done: make(chan error, 1),
	}
	go p.receive()
	if err := p.send(); err != nil {
		return result{}, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return result{}, err
	}
	if err := <-p.done; err != nil {
		return result{}, err
	}
	return p.result, nil
}

type byHand struct {
	load
	conn  *icmp.PacketConn
	id    int
	slots chan struct{}
	done  chan error

	mu          sync.Mutex
	outstanding map[request]time.Time
	result
}

// send ends early where nothing is answered any more.
func (p *byHand) send() error {
	start := time.Now()
	for i := range p.targets * p.count {
		if p.gap > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(i) * p.gap)))
		}
		if !p.slot() {
			return nil
		}
		ip, seq := p.target(i%p.targets), i/p.targets&0xffff
		message := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: p.id, Seq: seq, Data: make([]byte, data)}}
		packet, err := message.Marshal(nil)
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.outstanding[request{[4]byte(ip), seq}] = time.Now()
		p.sent++
		p.mu.Unlock()
		if _, err := p.conn.WriteTo(packet, &net.IPAddr{IP: ip}); err != nil {
			return err
		}
	}
	return nil
}

// slot waits for one in the window, but not for ever.
func (p *byHand) slot() bool {
	select {
	case p.slots <- struct{}{}:
		return true
	default:
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case p.slots <- struct{}{}:
		return true
	case <-timeout.C:
		return false
	}
}

// receive ends when all is answered, or at the read deadline.
func (p *byHand) receive() {
	buf := make([]byte, 1500)
	for p.answered < p.targets*p.count {
		n, from, err := p.conn.ReadFrom(buf)
		if err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				err = nil
			}
			p.done <- err
			return
		}
		at := time.Now()
		message, err := icmp.ParseMessage(ipv4.ICMPTypeEchoReply.Protocol(), buf[:n])
		if err != nil {
			continue
		}
		echo, ok := message.Body.(*icmp.Echo)
		if !ok || echo.ID != p.id || len(echo.Data) != data {
			continue
		}
		ip, ok := from.(*net.IPAddr)
		if !ok || ip.IP.To4() == nil {
			p.done <- fmt.Errorf("a reply from %v: want an IPv4 address", from)
			return
		}
		r := request{[4]byte(ip.IP.To4()), echo.Seq}
		p.mu.Lock()
		sent, ok := p.outstanding[r]
		delete(p.outstanding, r)
		p.mu.Unlock()
		if ok {
			p.answered++
			p.sum += at.Sub(sent)
			<-p.slots
		}
	}
	p.done <- nil
}
