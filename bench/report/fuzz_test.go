package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// Results may come from anyone. What is read becomes a page, pictures and tables, which
// are well-formed and have nothing of the results in them but text; or it is an error
// that names the file.
func FuzzResults(f *testing.F) {
	saved, err := os.ReadFile("testdata/results.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(saved)) {
		if name, _, _ := strings.Cut(line, "backend="); strings.HasPrefix(name, "Benchmark") && len(line)%5 == 0 {
			f.Add("pkg: iomux/bench\n" + line)
			f.Add("pkg: iomux/bench/peers\n" + line)
		}
	}
	f.Add("libev: <script>\npkg: iomux/bench\nBenchmarkEchoWindow/window=1/backend=<b>&\"' 1 0 packets/s\n")
	f.Add("pkg: iomux/bench\nBenchmarkChain/n=1e-9/active=1/backend=\x00\u202e 1 1e15 ns/event 1e-6 ns/event-p10\n")
	f.Add("pkg: iomux/bench/peers\nBenchmarkServer/Raw 1 1e-300 cpu-ns/reply\nBenchmarkServer/Raw/server= 1 1e300 cpu-ns/reply\n")
	f.Add("BenchmarkA  \t--- FAIL: BenchmarkA\nBenchmarkB-2 ")
	f.Fuzz(func(t *testing.T, text string) {
		r := &results{byName: map[string]*benchmark{}}
		if err := r.read("a.txt", []byte(text)); err != nil {
			if !strings.Contains(err.Error(), "a.txt:") {
				t.Fatalf("%v does not name the file", err)
			}
			return
		}
		p, err := newPage(r)
		if err != nil {
			t.Fatal(err)
		}
		p.Against = compare(r, r)
		if len(p.Against.Rows) > 0 {
			t.Errorf("a run disagrees with itself: %v", p.Against.Rows)
		}
		for _, f := range p.Figures {
			if err := wellFormed(string(f.SVG)); err != nil {
				t.Errorf("%s: %v", f.Name, err)
			}
		}
		page, err := p.html()
		if err != nil {
			t.Fatal(err)
		}
		checkElements(t, string(page))
		tables, err := p.markdown()
		if err != nil {
			t.Fatal(err)
		}
		checkColumns(t, string(tables))
	})
}

func wellFormed(text string) error {
	for in := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := in.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// checkElements looks for what neither the page nor its pictures have.
func checkElements(t *testing.T, page string) {
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	const known = " html head meta title style body h1 h2 h3 p div table tbody tr th td code pre strong br ul li figure figcaption svg g path text desc "
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && !strings.Contains(known, " "+n.Data+" ") {
			t.Errorf("there is an element %q", n.Data)
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "href" || a.Key == "src" {
				t.Errorf("%s has %s=%q", n.Data, a.Key, a.Val)
			}
		}
	}
}

// checkColumns sees that all rows of a table in Markdown have as many columns.
func checkColumns(t *testing.T, text string) {
	columns := 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		n := strings.Count(strings.ReplaceAll(strings.ReplaceAll(line, `\\`, ""), `\|`, ""), "|")
		if columns == 0 {
			columns = n
		}
		if n != columns {
			t.Errorf("%q has %d bars; want %d", line, n, columns)
		}
	}
}
