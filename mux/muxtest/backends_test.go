package muxtest

import (
	"testing"

	"iomux/mux"
)

func TestBackends(t *testing.T) {
	for _, name := range mux.Backends() {
		t.Run(name, func(t *testing.T) {
			Run(t, func() (mux.Mux, error) { return mux.Open(name) })
		})
	}
}
