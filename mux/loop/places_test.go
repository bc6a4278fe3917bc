package loop

import (
	"slices"
	"testing"

	"iomux/mux"
)

func TestPlacesOfStoppedWatchesAreGivenAwayAgain(t *testing.T) {
	var ws watches
	none := func(mux.Event) {}
	kept := &Watch{}
	ws.add(kept, none)
	seen := make(map[uint64]bool)
	for range 1000 {
		w := &Watch{}
		ws.add(w, none)
		if !ws.has(w) || seen[w.token] {
			t.Fatal("a token finds another watch")
		}
		seen[w.token] = true
		ws.remove(w)
		if ws.has(w) || ws.find(w.token) != nil {
			t.Fatal("a token finds a watch that was stopped")
		}
	}
	if len(ws.slots) != 2 {
		t.Errorf("%d places for two watches at a time", len(ws.slots))
	}
	if all := slices.Collect(ws.all()); !slices.Equal(all, []*Watch{kept}) {
		t.Errorf("%d watches are left, want one", len(all))
	}
	if ws.find(5) != nil || ws.find(1<<63) != nil {
		t.Error("a token that was never given away finds a watch")
	}
}
