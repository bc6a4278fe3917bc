package loop

import (
	"slices"
	"testing"
)

func TestPlacesOfStoppedWatchesAreGivenAwayAgain(t *testing.T) {
	var ws watches
	kept := &Watch{}
	ws.add(kept)
	seen := make(map[uint64]bool)
	for range 1000 {
		w := &Watch{}
		ws.add(w)
		if ws.find(w.token) != w || seen[w.token] {
			t.Fatal("a token finds another watch")
		}
		seen[w.token] = true
		ws.remove(w)
		if ws.find(w.token) != nil {
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
