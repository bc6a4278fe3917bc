package mux_test

import (
	"fmt"
	"log"
	"sync/atomic"
	"testing"
	"time"

	"iomux/mux"
	"iomux/mux/muxtest"
)

// counted is a Mux that counts how often it waits.
type counted struct {
	mux.Mux
	waits atomic.Int64 // for a second Wait may come at any time, to be refused
}

func (c *counted) Name() string { return "counted" }

func (c *counted) Wait(events []mux.Event, timeout time.Duration) (int, error) {
	c.waits.Add(1)
	return c.Mux.Wait(events, timeout)
}

// A package that brings a backend registers it when it is imported.
func init() {
	mux.Register(mux.Backend{Name: "counted", Open: openCounted})
}

func openCounted() (mux.Mux, error) {
	m, err := mux.Open("epoll")
	if err != nil {
		return nil, err
	}
	return &counted{Mux: m}, nil
}

func TestTheExampleOfABackendPassesTheSuite(t *testing.T) { muxtest.Run(t, openCounted) }

func ExampleRegister() {
	m, err := mux.Open("counted") // or IOMUX_BACKEND=counted in the environment
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	m.Wait(make([]mux.Event, 1), 0)
	fmt.Println(m.Name(), m.(*counted).waits.Load())
	// Output: counted 1
}
