package main

import (
	"context"

	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
	_ "iomux/transport/udp"
)

// serveIomux answers up to 32 datagrams at a time, from the address that each was sent to.
func serveIomux(ready func()) error {
	m, err := mux.Open("epoll")
	if err != nil {
		return err
	}
	l := loop.New(m)
	defer l.Close()
	t, err := transport.Open("udp4", address, &transport.Config{Batch: 32, RecvBuffer: buffer})
	if err != nil {
		return err
	}
	l.Own(t)
	ms := make([]transport.Message, t.BatchSize())
	for i := range ms {
		ms[i].Buf = make([]byte, size)
	}
	var failure error
	_, err = l.Watch(t.FD(), mux.Readable, func(mux.Event) {
		if failure = echo(t, ms); failure != nil {
			l.Stop()
		}
	})
	if err != nil {
		return err
	}
	ready()
	if err := l.Run(context.Background()); err != nil {
		return err
	}
	return failure
}

// echo answers one batch. What does not fit into the send buffer is lost, as a datagram
// may be.
func echo(t transport.Transport, ms []transport.Message) error {
	n, err := t.Recv(ms)
	if err != nil {
		return err
	}
	for i := range ms[:n] {
		ms[i].Reply()
	}
	for sent := 0; sent < n; {
		k, err := t.Send(ms[sent:n])
		if err != nil || k == 0 {
			return err
		}
		sent += k
	}
	return nil
}
