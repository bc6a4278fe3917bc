package targets_test

import (
	"strings"
	"testing"

	"iomux/apps/echo/prober/targets"
)

func BenchmarkAt(b *testing.B) {
	singles := million(b)
	for _, c := range []struct {
		name string
		list *targets.List
	}{
		{"slash8", list(b, "10.0.0.0/8")},
		{"slash8Shuffled", list(b, "10.0.0.0/8").Shuffle(1)},
		{"millionSingles", singles},
		{"millionSinglesShuffled", singles.Shuffle(1)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			i := uint64(0)
			for b.Loop() {
				c.list.At(i)
				if i++; i == c.list.Len() {
					i = 0
				}
			}
		})
	}
}

func BenchmarkIndex(b *testing.B) {
	l := million(b).Shuffle(1)
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		l.Index(l.At(i).Addr)
		if i++; i == l.Len() {
			i = 0
		}
	}
}

func BenchmarkShuffle(b *testing.B) {
	l := list(b, "10.0.0.0/8")
	b.ReportAllocs()
	for b.Loop() {
		l.Shuffle(1)
	}
}

// BenchmarkBuild reads a file of a million addresses and makes a list of them.
func BenchmarkBuild(b *testing.B) {
	text := random(1_000_000)
	b.ReportAllocs()
	for b.Loop() {
		read(b, text)
	}
}

func million(b *testing.B) *targets.List { return read(b, random(1_000_000)) }

func read(t testing.TB, text string) *targets.List {
	t.Helper()
	var b targets.Builder
	if err := b.AddFile("random", strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	l, err := b.List()
	if err != nil {
		t.Fatal(err)
	}
	return l
}
