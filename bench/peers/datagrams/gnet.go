package main

import (
	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"
)

// serveGnet answers on one event loop, as gnet's documentation has it. Its log would go to
// the standard output.
func serveGnet(ready func()) error {
	s := &gnetServer{ready: ready}
	err := gnet.Run(s, "udp://"+address, gnet.WithMulticore(false), gnet.WithSocketRecvBuffer(buffer),
		gnet.WithLogger(zap.NewNop().Sugar()))
	if err != nil {
		return err
	}
	return s.err
}

type gnetServer struct {
	gnet.BuiltinEventEngine
	ready func()
	err   error
}

// OnBoot is called when the socket is bound.
func (s *gnetServer) OnBoot(gnet.Engine) gnet.Action {
	s.ready()
	return gnet.None
}

func (s *gnetServer) OnTraffic(c gnet.Conn) gnet.Action {
	var datagram []byte
	if datagram, s.err = c.Next(-1); s.err == nil {
		_, s.err = c.Write(datagram)
	}
	if s.err != nil {
		return gnet.Shutdown
	}
	return gnet.None
}
