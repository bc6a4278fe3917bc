package mux_test

import (
	"fmt"
	"log"
	"time"

	"iomux/mux"
)

// counted is a Mux that counts how often it waits.
type counted struct {
	mux.Mux
	waits int
}

func (c *counted) Name() string { return "counted" }

func (c *counted) Wait(events []mux.Event, timeout time.Duration) (int, error) {
	c.waits++
	return c.Mux.Wait(events, timeout)
}

// A package that brings a backend registers it when it is imported.
func init() {
	mux.Register(mux.Backend{Name: "counted", Open: func() (mux.Mux, error) {
		m, err := mux.Open("epoll")
		if err != nil {
			return nil, err
		}
		return &counted{Mux: m}, nil
	}})
}

func ExampleRegister() {
	m, err := mux.Open("counted") // or IOMUX_BACKEND=counted in the environment
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	m.Wait(make([]mux.Event, 1), 0)
	fmt.Println(m.Name(), m.(*counted).waits)
	// Output: counted 1
}
